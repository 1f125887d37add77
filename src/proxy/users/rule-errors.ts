/** What is wrong with a rule, in the words of Redis 7.0 (acl.c, ACLSetUserStringError). */
export const SYNTAX = "Syntax error";
export const UNKNOWN = "Unknown command or category name in ACL";
export const CHILD_OF_A_SUBCOMMAND = "Allowing first-arg of a subcommand is not supported";
export const NO_SUCH_PASSWORD = "The password you are trying to remove from the user does not exist";
export const BAD_HASH =
  "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
export const AFTER_ALL_KEYS =
  "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. " +
  "Try 'resetkeys' to start with an empty list of patterns";
export const AFTER_ALL_CHANNELS =
  "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not " +
  "have any effect. Try 'resetchannels' to start with an empty list of channels";
