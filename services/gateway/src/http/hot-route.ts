const HOT_ROUTE = /^\/v2\/models\/([\w-][\w.-]*)\/infer$/;

/**
 * The model that the target of a POST names, if it is the route that nearly all requests take, with a name that needs no decoding;
 * undefined: whatever is written another way finds the same handler behind Hono.
 */
export function hotModel(target: string): string | undefined {
  return HOT_ROUTE.exec(target)?.[1];
}
