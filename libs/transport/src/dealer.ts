import { Dealer } from "zeromq";
import { receiveLoop } from "./receive-loop.ts";
import { CLOSE_LINGER_MS, DATA_SOCKET_OPTIONS, isEdge, notifyHiccup } from "./socket-options.ts";

export type DealerHandlers = {
  onMessage(frames: Buffer[]): void;
  /** The connection is gone, or a send found it gone: what was sent may be lost. */
  onDisconnected(): void;
};

/** A DEALER connected to one broker. A connection that was lost is never used again: close the socket and open another. */
export type DealerSocket = {
  /** Never blocks and never throws. The frames belong to the socket from now on. */
  send(frames: Uint8Array[]): void;
  /** `abandon` drops what is unsent; `graceful` gives it two seconds. */
  close(how: "abandon" | "graceful"): void;
};

/** Connects to `tcp://IP:PORT`; an IP literal, because libzmq resolves names in the thread that moves all data. */
export function openDealer(address: string, handlers: DealerHandlers): DealerSocket {
  const socket = new Dealer({
    ...DATA_SOCKET_OPTIONS,
    ipv6: address.startsWith("tcp://["),
    // Without a connection a send fails at once, instead of waiting to be delivered arbitrarily late.
    immediate: true,
    reconnectInterval: 100,
    connectTimeout: 3000,
    tcpKeepalive: 1,
    tcpKeepaliveIdle: 15,
    tcpKeepaliveInterval: 5,
    tcpKeepaliveCount: 3,
  });
  notifyHiccup(socket);
  socket.connect(address);
  void receiveLoop(socket, {
    onMessage: (frames) => (isEdge(frames) ? handlers.onDisconnected() : handlers.onMessage(frames)),
    onTurnEnd: () => {},
  });
  return {
    send(frames) {
      socket.send(frames).catch(() => {
        if (!socket.closed) handlers.onDisconnected();
      });
    },
    close(how) {
      if (how === "graceful") socket.linger = CLOSE_LINGER_MS;
      socket.close();
    },
  };
}
