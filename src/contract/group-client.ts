/**
 * Typed calls of the routes in group-routes.ts, for the command line, the page and tests. What they throw
 * besides is that of every call: UNREACHABLE, TIMEOUT, UNAUTHORIZED, NOT_LEADER while leadership changes
 * hands.
 */
import type { z } from "zod";
import type { HttpClient } from "../env/http.ts";
import { type ControllerTarget, callJson } from "./client.ts";
import { GROUP_ROUTES } from "./group-routes.ts";
import type {
  AssignBody,
  GroupAdded,
  GroupList,
  GroupRemoved,
  OptionList,
  RebalanceAnswer,
  ServerAdded,
  ServerList,
  ServerRemoved,
  SlotList,
  drainBodySchema,
  groupAddBodySchema,
  optionSetBodySchema,
  rebalanceBodySchema,
  serverAddBodySchema,
  slotMoveBodySchema,
} from "./group-schemas.ts";

/** These ask servers before they answer, or look at every key of one. */
export const LONG_CALL_TIMEOUT_MS = 120_000;

/** Asks every primary: a group whose primary does not answer has nulls. */
export function fetchGroups(http: HttpClient, target: ControllerTarget): Promise<GroupList> {
  return callJson(http, target, GROUP_ROUTES.groups, GROUP_ROUTES.groups.answer, {});
}

/** Asks every server; how a replica's first copy gets on is in `sync`. */
export function fetchServers(http: HttpClient, target: ControllerTarget): Promise<ServerList> {
  return callJson(http, target, GROUP_ROUTES.servers, GROUP_ROUTES.servers.answer, {});
}

/** As stored; nobody is asked. */
export function fetchSlots(http: HttpClient, target: ControllerTarget): Promise<SlotList> {
  return callJson(http, target, GROUP_ROUTES.slots, GROUP_ROUTES.slots.answer, {});
}

/** Every option, set or not. */
export function fetchOptions(http: HttpClient, target: ControllerTarget): Promise<OptionList> {
  return callJson(http, target, GROUP_ROUTES.options, GROUP_ROUTES.options.answer, {});
}

/** @throws ShoalError CONFLICT, UNREACHABLE, TIMEOUT with what to do next */
export function addGroup(
  http: HttpClient,
  target: ControllerTarget,
  body: z.input<typeof groupAddBodySchema>,
): Promise<GroupAdded> {
  return callJson(http, patient(target), GROUP_ROUTES.groupAdd, GROUP_ROUTES.groupAdd.answer, { body });
}

/** @throws ShoalError CONFLICT while it owns slots or some move to it, NOT_FOUND */
export function removeGroup(http: HttpClient, target: ControllerTarget, id: string): Promise<GroupRemoved> {
  const options = { parameters: { id } };
  return callJson(http, target, GROUP_ROUTES.groupRemove, GROUP_ROUTES.groupRemove.answer, options);
}

/** As {@link rebalance}, for one group that shall be empty. */
export function drainGroup(
  http: HttpClient,
  target: ControllerTarget,
  id: string,
  body: z.input<typeof drainBodySchema>,
): Promise<RebalanceAnswer> {
  const options = { parameters: { id }, body };
  return callJson(http, patient(target), GROUP_ROUTES.groupDrain, GROUP_ROUTES.groupDrain.answer, options);
}

/** Comes back when it is noted, not when it is in sync. @throws ShoalError CONFLICT, UNREACHABLE, TIMEOUT */
export function addServer(
  http: HttpClient,
  target: ControllerTarget,
  body: z.input<typeof serverAddBodySchema>,
): Promise<ServerAdded> {
  return callJson(http, patient(target), GROUP_ROUTES.serverAdd, GROUP_ROUTES.serverAdd.answer, { body });
}

/** @throws ShoalError CONFLICT for a primary, NOT_FOUND */
export function removeServer(
  http: HttpClient,
  target: ControllerTarget,
  addr: string,
): Promise<ServerRemoved> {
  const options = { body: { addr } };
  return callJson(
    http,
    patient(target),
    GROUP_ROUTES.serverRemove,
    GROUP_ROUTES.serverRemove.answer,
    options,
  );
}

/** An empty zone takes it away. @throws ShoalError NOT_FOUND, INVALID_ARGUMENT */
export function setZone(
  http: HttpClient,
  target: ControllerTarget,
  body: { readonly addr: string; readonly zone: string },
): Promise<{ addr: string; zone: string }> {
  return callJson(http, target, GROUP_ROUTES.serverZone, GROUP_ROUTES.serverZone.answer, { body });
}

/** Comes back when the moves are stored. @throws ShoalError CONFLICT when slots of them move elsewhere */
export function moveSlots(
  http: HttpClient,
  target: ControllerTarget,
  body: z.input<typeof slotMoveBodySchema>,
): Promise<{ id: string | null }> {
  return callJson(http, target, GROUP_ROUTES.slotMove, GROUP_ROUTES.slotMove.answer, { body });
}

/** @throws ShoalError CONFLICT while another group holds keys of the slots, unless they are abandoned */
export function assignSlotsTo(
  http: HttpClient,
  target: ControllerTarget,
  body: AssignBody,
): Promise<z.infer<typeof GROUP_ROUTES.slotAssign.answer>> {
  return callJson(http, patient(target), GROUP_ROUTES.slotAssign, GROUP_ROUTES.slotAssign.answer, { body });
}

/**
 * With `dryRun` the plan alone; with the `moves` of such a plan, exactly these.
 * @throws ShoalError CONFLICT when they are not true any more
 */
export function rebalance(
  http: HttpClient,
  target: ControllerTarget,
  body: z.input<typeof rebalanceBodySchema>,
): Promise<RebalanceAnswer> {
  return callJson(http, patient(target), GROUP_ROUTES.rebalance, GROUP_ROUTES.rebalance.answer, { body });
}

/** Null takes an option away. @throws ShoalError INVALID_ARGUMENT that names what is allowed */
export function setOptions(
  http: HttpClient,
  target: ControllerTarget,
  body: z.input<typeof optionSetBodySchema>,
): Promise<OptionList> {
  return callJson(http, target, GROUP_ROUTES.optionSet, GROUP_ROUTES.optionSet.answer, { body });
}

/** A target's own time limit counts before ours. */
function patient(target: ControllerTarget): ControllerTarget {
  return { timeoutMs: LONG_CALL_TIMEOUT_MS, ...target };
}
