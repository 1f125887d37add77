/** What a worker counts. Plain numbers: sent to the master as they are, summed there. */
export class Counters {
  connections = 0;
  rejectedConnections = 0;
  protocolErrors = 0;
  failedRequests = 0;
  serverTimeouts = 0;
  /** WAITs sent for batches of writes, and writes that too few replicas have confirmed in time. */
  ackWaits = 0;
  unconfirmedWrites = 0;
  /** Requests that waited for a server, each time that they were looked at. */
  requestsHeld = 0;
  /** Requests that did not, because too many waited. */
  holdsRefused = 0;
  /** Reads that were sent for the second time, because their connection broke. */
  readsSentAgain = 0;
  clientsOverOutput = 0;
  crossSlotErrors = 0;
  /** Requests that replicas answered. */
  replicaReads = 0;
  splitRequests = 0;
  /** Requests that their user had no right to, and log-ins that failed. */
  deniedRequests = 0;
  /** TLS handshakes of clients that failed. */
  tlsFailures = 0;
  /** Elements that were popped for a client which was gone by then. */
  putBack = 0;
  /** MIGRATE requests for keys of moving slots, those among them that were repeats, and keys that came. */
  pulls = 0;
  pullRetries = 0;
  pulledKeys = 0;
}
