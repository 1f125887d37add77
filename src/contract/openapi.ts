/** Prints the table of routes as an OpenAPI 3.1 description. */
import { z } from "zod";
import { ROUTES, type Route } from "./routes.ts";
import { errorAnswerSchema } from "./schemas.ts";

type Json = Record<string, unknown>;

/** The description of the whole API; a plain object that JSON can write. */
export function openApiDocument(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const [name, route] of Object.entries(ROUTES) as Array<[string, Route]>) {
    const path = route.path.replace(/:([a-z]+)/gi, "{$1}");
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(name, route);
  }
  return {
    openapi: "3.1.0",
    info: { title: "Shoal controller", version, description: "The control plane of a Shoal cluster." },
    paths,
    components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
  };
}

function operation(name: string, route: Route): Json {
  return {
    operationId: name,
    summary: route.summary,
    security: route.needsToken ? [{ token: [] }] : [],
    parameters: parameters(route),
    ...(route.body === null ? {} : { requestBody: { required: true, content: jsonContent(route.body) } }),
    responses: {
      "200": { description: "What was asked for", content: content(route.answerType, route.answer) },
      default: { description: "What went wrong", content: jsonContent(errorAnswerSchema) },
    },
  };
}

function parameters(route: Route): Json[] {
  const inPath = [...route.path.matchAll(/:([a-z]+)/gi)].map((match) => ({
    name: match[1],
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const inQuery = Object.entries(route.query).map(([name, description]) => ({
    name,
    in: "query",
    description,
    schema: { type: "string" },
  }));
  return [...inPath, ...inQuery];
}

function jsonContent(schema: z.ZodType): Json {
  return content("application/json", schema);
}

function content(type: string, schema: z.ZodType | null): Json {
  if (schema === null) return { [type]: {} };
  return { [type]: { schema: z.toJSONSchema(schema, { unrepresentable: "any" }) } };
}
