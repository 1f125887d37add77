/** Running somebody's script, for what the controller has to tell. */
export interface ScriptRunner {
  /**
   * Runs the program at `path` with `input` on its standard input; resolves when it has ended with status 0.
   * @throws ShoalError START_FAILED when it can't be started or ends otherwise, TIMEOUT when it is killed
   * after
   *   `timeoutMs`
   */
  run(path: string, input: string, timeoutMs: number): Promise<void>;
}
