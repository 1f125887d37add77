/** One row of the API; see routes.ts. */
import type { z } from "zod";

export interface Route {
  readonly method: "GET" | "POST";
  /** `:name` stands for a path parameter. */
  readonly path: string;
  readonly summary: string;
  /** Whether the bearer token is asked for, when one is configured. */
  readonly needsToken: boolean;
  /** Query parameters: name → what it is. All optional for the parser; the handler says which is missing. */
  readonly query: Readonly<Record<string, string>>;
  readonly body: z.ZodType | null;
  readonly answerType: "application/json" | "application/x-ndjson" | "text/plain";
  /** The answer, or one line of it for a stream; null where it is not ours to describe. */
  readonly answer: z.ZodType | null;
}

/** What most routes that only read have in common. */
export const READ = {
  method: "GET",
  needsToken: true,
  query: {},
  body: null,
  answerType: "application/json",
} as const;
