/** Answers the routes of contract/group-routes.ts. */
import type { GROUP_ROUTES } from "../../contract/group-routes.ts";
import type {
  AssignBody,
  DrainBody,
  GroupAddBody,
  RebalanceBody,
  ServerAddBody,
  SlotMoveBody,
  optionSetBodySchema,
} from "../../contract/group-schemas.ts";
import type { z } from "zod";
import { type ApiHandler, jsonResponse } from "./api.ts";
import type { ApiParts } from "./handlers.ts";

/** Bodies have been checked by their schemas; what they mean is decided in controller/topology. */
export function groupHandlers(parts: ApiParts): Readonly<Record<keyof typeof GROUP_ROUTES, ApiHandler>> {
  const { groups, rebalance, lists } = parts.topology;
  return {
    groups: async () => jsonResponse(await lists.groups()),
    groupAdd: async ({ body }) => jsonResponse(await groups.addGroup(body as GroupAddBody)),
    groupRemove: async ({ parameters }) => jsonResponse(await groups.removeGroup(parameters["id"])),
    groupDrain: async ({ parameters, body }) => {
      return jsonResponse(await rebalance.drain(parameters["id"], body as DrainBody));
    },
    servers: async () => jsonResponse(await lists.servers()),
    serverAdd: async ({ body }) => jsonResponse(await groups.addServer(body as ServerAddBody)),
    serverRemove: async ({ body }) => {
      return jsonResponse(await groups.removeServer((body as { addr: string }).addr));
    },
    serverZone: async ({ body }) => {
      const { addr, zone } = body as { addr: string; zone: string };
      await groups.setZone(addr, zone);
      return jsonResponse({ addr, zone });
    },
    slots: () => jsonResponse(lists.slots()),
    slotMove: async ({ body }) => jsonResponse({ id: await rebalance.moveSlots(body as SlotMoveBody) }),
    slotAssign: async ({ body }) => jsonResponse(await groups.assign(body as AssignBody)),
    rebalance: async ({ body }) => jsonResponse(await rebalance.rebalance(body as RebalanceBody)),
    options: () => jsonResponse(lists.options()),
    optionSet: async ({ body }) => {
      await groups.setOptions((body as z.infer<typeof optionSetBodySchema>).options);
      return jsonResponse(lists.options());
    },
  };
}
