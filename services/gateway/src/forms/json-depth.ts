const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ARRAY = 0x5b;
const ARRAY_END = 0x5d;
const OBJECT = 0x7b;
const OBJECT_END = 0x7d;

/** Whether a JSON text has arrays and objects inside each other more than `levels` deep. Pure; O(text), whatever it holds. */
export function isDeeperThan(text: string, levels: number): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case QUOTE:
        i = stringEnd(text, i);
        break;
      case ARRAY:
      case OBJECT:
        if (++depth > levels) return true;
        break;
      case ARRAY_END:
      case OBJECT_END:
        depth--;
        break;
    }
  }
  return false;
}

/** Where the string that starts at `from` ends: at its quote, or with the text. */
function stringEnd(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return at;
  }
  return text.length;
}
