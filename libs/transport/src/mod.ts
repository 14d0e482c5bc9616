/** ZeroMQ sockets with the settings and the manners that keep them from losing, blocking or hiding anything. */
export { BrokerLink, type BrokerLinkHandlers, type BrokerLinkOptions } from "./broker-link.ts";
export { openRouter, type RouterHandlers, type RouterSocket } from "./router.ts";
