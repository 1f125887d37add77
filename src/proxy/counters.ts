/** What a worker counts. Plain numbers: sent to the master as they are, summed there. */
export class Counters {
  connections = 0;
  rejectedConnections = 0;
  protocolErrors = 0;
  failedRequests = 0;
  serverTimeouts = 0;
  clientsOverOutput = 0;
  crossSlotErrors = 0;
  splitRequests = 0;
  /** Requests that their user had no right to, and log-ins that failed. */
  deniedRequests = 0;
  /** TLS handshakes of clients that failed. */
  tlsFailures = 0;
  /** Elements that were popped for a client which was gone by then. */
  putBack = 0;
}
