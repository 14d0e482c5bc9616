/** ZeroMQ sockets with the settings and the manners that keep them from losing, blocking or hiding anything. */
export { BrokerLinks, type BrokerLinksHandlers, type BrokerLinksOptions } from "./broker-links.ts";
export { openRouter, type RouterHandlers, type RouterSocket } from "./router.ts";
