/** One server-sent event; its data is JSON. */
export type StreamEvent = { readonly event: string; readonly data: unknown };

/** Reads a stream of server-sent events, one after another, until the loop that reads it is left. */
export async function* readEventStream(url: string): AsyncGenerator<StreamEvent, void, void> {
  const abort = new AbortController();
  try {
    const response = await fetch(url, { signal: abort.signal });
    const type = response.headers.get("content-type") ?? "";
    if (!type.startsWith("text/event-stream") || response.body === null)
      throw new Error(`${url} answers ${response.status} ${type}, not a stream of events`);
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const fields = new Map(block.split("\n").map((line) => [line.split(": ", 1)[0], line.replace(/^\w+: /, "")]));
        const event = fields.get("event");
        if (event !== undefined) yield { event, data: JSON.parse(fields.get("data") ?? "null") };
      }
    }
  } finally {
    abort.abort();
  }
}
