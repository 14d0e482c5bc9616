#!/bin/sh
# Sends the ten images to a running Millrace and compares the answers with the true labels.
#
#     ./classify.sh [URL]      # default http://127.0.0.1:8000
#
# Needs curl. Exits with 1 if a label is wrong or an answer is not one, with 2 if it is called wrongly.
set -u

if [ $# -gt 1 ]; then
  echo "usage: $0 [URL]" >&2
  exit 2
fi
url=${1:-http://127.0.0.1:8000}
url=${url%/}
cd "$(dirname "$0")" || exit 2

# The value of the output "label" in an answer of the Open Inference Protocol, read from standard input.
label_of() {
  tr -d ' \t\r\n' | tr '{}' '\n\n' | grep '"name":"label"' | sed -n 's/.*"data":\[\([0-9]*\)\].*/\1/p'
}

wrong=0
for file in [0-9].json; do
  expected=$(sed -n "s/.*\"$file\": *\([0-9]*\).*/\1/p" labels.json)
  answer=$(curl -sS --max-time 30 -H 'content-type: application/json' --data-binary "@$file" \
    "$url/v2/models/digits/infer")
  label=$(printf '%s' "$answer" | label_of)
  if [ -n "$label" ] && [ "$label" = "$expected" ]; then
    echo "$file: expected $expected, answered $label"
  else
    echo "$file: expected $expected, answered ${label:-no label: $answer}   <- wrong"
    wrong=$((wrong + 1))
  fi
done

if [ "$wrong" -gt 0 ]; then
  echo "$wrong of 10 wrong" >&2
  exit 1
fi
echo "all right"
