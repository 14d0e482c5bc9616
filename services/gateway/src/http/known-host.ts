/** Plain values of Host that make a URL, of which a gateway meets few. */
const knownHosts = new Set<string>();
const KNOWN_HOSTS_MAX = 64;
const PLAIN_HOST = /^[\w.:[\]-]+$/;

/** Whether a value of Host needs no further look; what is not plain, the adapter judges. */
export function isKnownHost(host: string): boolean {
  if (knownHosts.has(host)) return true;
  if (!PLAIN_HOST.test(host) || !URL.canParse(`http://${host}/`)) return false;
  // Invented ones must neither fill the memory nor shut the real ones out.
  if (knownHosts.size >= KNOWN_HOSTS_MAX) knownHosts.clear();
  knownHosts.add(host);
  return true;
}
