/** ZeroMQ's protocol on node's sockets, with the manners that keep it from losing, blocking or hiding anything. */
export { BrokerLinks, type BrokerLinksHandlers, type BrokerLinksOptions } from "./broker-links.ts";
export { openRouter, type RouterHandlers, type RouterSocket } from "./router.ts";
