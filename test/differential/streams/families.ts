/**
 * The commands of each family as templates. One template is one form of a command:
 *
 *   SET $k $v ?EX:$t ?NX|XX        a word; ?… is left out half of the time; `:` joins words that belong
 *   together;
 *                                  `|` is a choice; …+ is repeated one to four times
 *
 * What $k and the others stand for: `vocabulary.ts`.
 */
export interface Family {
  readonly name: string;
  /** The letter of the family's own keys; see `vocabulary.ts`. */
  readonly type: string;
  readonly templates: readonly string[];
}

const STRINGS = [
  "SET $k $v",
  "SET $k $v ?EX:$t|KEEPTTL ?NX|XX ?GET",
  "SET $k $v PX $t000 ?GET",
  "GET $k",
  "GETSET $k $v",
  "GETDEL $k",
  "GETEX $k ?EX:$t|PERSIST",
  "SETNX $k $v",
  "SETEX $k $t $v",
  "PSETEX $k $t000 $v",
  "APPEND $k $v",
  "STRLEN $k",
  "INCR|DECR $k",
  "INCRBY|DECRBY $k $i",
  "INCRBYFLOAT $k $f",
  "GETRANGE|SUBSTR $k $i $i",
  "SETRANGE $k $u $v",
  "MSETNX $k:$v+",
  "LCS $k $k ?LEN ?IDX ?MINMATCHLEN:$u ?WITHMATCHLEN",
  "MGET $a+",
  "MSET $a:$v+",
  "EXISTS|DEL|UNLINK|TOUCH $a+",
];

const BITMAPS = [
  "SETBIT $k $u 0|1",
  "GETBIT $k $u",
  "BITCOUNT $k",
  "BITCOUNT $k $i $i ?BIT|BYTE",
  "BITPOS $k 0|1 ?$i",
  "BITPOS $k 0|1 $i $i ?BIT|BYTE",
  "BITOP AND|OR|XOR|NOT $k $k+",
  "BITFIELD $k GET:u8:$u+ SET:i5:#1:$i+ ?OVERFLOW:WRAP|SAT|FAIL INCRBY:u3:$u:$i+",
  "BITFIELD_RO $k GET:u4:$u+",
  "SET $k $v",
  "GET $k",
];

const HASHES = [
  "HSET $k $m:$v+",
  "HMSET $k $m:$v+",
  "HSETNX $k $m $v",
  "HGET|HEXISTS|HSTRLEN $k $m",
  "HMGET $k $m+",
  "HDEL $k $m+",
  "HGETALL|HKEYS|HVALS|HLEN $k",
  "HINCRBY $k $m $i",
  "HINCRBYFLOAT $k $m $f",
  "HRANDFIELD $k ?$i",
  "HRANDFIELD $k $i WITHVALUES",
  "HSCAN $k 0 COUNT 100000 ?MATCH:*",
];

const LISTS = [
  "LPUSH|RPUSH|LPUSHX|RPUSHX $k $v+",
  "LPOP|RPOP $k ?$u",
  "LLEN $k",
  "LRANGE $k $i $i",
  "LINDEX $k $i",
  "LSET $k $i $v",
  "LINSERT $k BEFORE|AFTER $v $v",
  "LREM $k $i $v",
  "LTRIM $k $i $i",
  "LPOS $k $v ?RANK:$i ?COUNT:$u ?MAXLEN:$u",
  "LMOVE $k $k LEFT|RIGHT LEFT|RIGHT",
  "RPOPLPUSH $k $k",
  "LMPOP 1 $k LEFT|RIGHT ?COUNT:$u",
  "LMPOP 2 $k $k LEFT|RIGHT ?COUNT:$u",
];

const SETS = [
  "SADD $k $m+",
  "SREM $k $m+",
  "SISMEMBER $k $m",
  "SMISMEMBER $k $m+",
  "SCARD|SMEMBERS $k",
  "SPOP $k 1000",
  "SRANDMEMBER $k ?$i",
  "SMOVE $k $k $m",
  "SINTER|SUNION|SDIFF $k+",
  "SINTERSTORE|SUNIONSTORE|SDIFFSTORE $k $k+",
  "SINTERCARD 2 $k $k ?LIMIT:$u",
  "SSCAN $k 0 COUNT 100000 ?MATCH:*",
];

const SORTED_SETS = [
  "ZADD $k ?NX|XX ?GT|LT ?CH $f:$m+",
  "ZADD $k ?XX INCR $f $m",
  "ZREM $k $m+",
  "ZSCORE|ZRANK|ZREVRANK $k $m",
  "ZMSCORE $k $m+",
  "ZCARD $k",
  "ZINCRBY $k $f $m",
  "ZCOUNT $k $r $r",
  "ZLEXCOUNT $k $l $l",
  "ZRANGE $k $i $i ?REV ?WITHSCORES",
  "ZRANGE $k $r $r BYSCORE ?REV ?LIMIT:$i:$i ?WITHSCORES",
  "ZRANGE $k $l $l BYLEX ?REV ?LIMIT:$i:$i",
  "ZREVRANGE $k $i $i ?WITHSCORES",
  "ZRANGEBYSCORE|ZREVRANGEBYSCORE $k $r $r ?WITHSCORES ?LIMIT:$i:$i",
  "ZRANGEBYLEX|ZREVRANGEBYLEX $k $l $l ?LIMIT:$i:$i",
  "ZRANGESTORE $k $k $i $i ?REV",
  "ZREMRANGEBYRANK $k $i $i",
  "ZREMRANGEBYSCORE $k $r $r",
  "ZREMRANGEBYLEX $k $l $l",
  "ZPOPMIN|ZPOPMAX $k ?$u",
  "ZMPOP 2 $k $k MIN|MAX ?COUNT:$u",
  "ZRANDMEMBER $k ?$i",
  "ZRANDMEMBER $k $i WITHSCORES",
  "ZUNION|ZINTER 2 $k $k ?WEIGHTS:$i:$i ?AGGREGATE:SUM|MIN|MAX ?WITHSCORES",
  "ZDIFF 2 $k $k ?WITHSCORES",
  "ZUNIONSTORE|ZINTERSTORE $k 2 $k $k ?WEIGHTS:$i:$i ?AGGREGATE:SUM|MIN|MAX",
  "ZDIFFSTORE $k 2 $k $k",
  "ZINTERCARD 2 $k $k ?LIMIT:$u",
  "ZSCAN $k 0 COUNT 100000 ?MATCH:*",
];

const STREAMS = [
  "XADD $k ?NOMKSTREAM ?MAXLEN:$u $j $m:$v+",
  "XADD $k MINID ~ $o $j $m $v",
  "XADD $k $j $m:$v+",
  "XLEN $k",
  "XRANGE $k -|$o +|$o ?COUNT:$u",
  "XREVRANGE $k +|$o -|$o ?COUNT:$u",
  "XDEL $k $o+",
  "XTRIM $k MAXLEN|MINID ?=|~ $u",
  "XSETID $k $o",
  "XGROUP CREATE $k $g 0|$|$o ?MKSTREAM ?ENTRIESREAD:$u",
  "XGROUP CREATECONSUMER|DELCONSUMER $k $g $c",
  "XGROUP DESTROY $k $g",
  "XGROUP SETID $k $g 0|$|$o",
  "XREAD ?COUNT:$u STREAMS $k 0|$|$o",
  "XREAD ?COUNT:$u STREAMS $k $k 0|$o 0|$o",
  "XREADGROUP GROUP $g $c ?COUNT:$u ?NOACK STREAMS $k >",
  "XREADGROUP GROUP $g $c ?COUNT:$u STREAMS $k $k > 0|$o|>",
  "XACK $k $g $o+",
  "XPENDING $k $g",
  "XPENDING $k $g ?IDLE:0 - + 10 ?$c",
  "XCLAIM $k $g $c 0 $o+ ?IDLE:0 ?RETRYCOUNT:$u ?FORCE ?JUSTID",
  "XAUTOCLAIM $k $g $c 0 0|$o ?COUNT:$u ?JUSTID",
  "XINFO STREAM $k ?FULL ?COUNT:$u",
  "XINFO GROUPS $k",
  "XINFO CONSUMERS $k $g",
];

const HYPERLOGLOGS = ["PFADD $k $m+", "PFCOUNT $k+", "PFMERGE $k $k+", "PFADD $k", "STRLEN $k", "TYPE $k"];

const GEO = [
  "GEOADD $k ?NX|XX ?CH $w:$w:$m+",
  "GEODIST $k $m $m ?m|km|ft|mi",
  "GEOHASH|GEOPOS $k $m+",
  "GEOSEARCH $k FROMLONLAT $w $w BYRADIUS $u00 km ?ASC|DESC ?COUNT:$u ?WITHCOORD ?WITHDIST ?WITHHASH",
  "GEOSEARCH $k FROMMEMBER $m BYBOX $u00 $u00 km ?ASC|DESC ?WITHDIST",
  "GEOSEARCHSTORE $k $k FROMLONLAT $w $w BYRADIUS $u00 km ?STOREDIST",
  "GEORADIUS $k $w $w $u00 km ?WITHDIST ?ASC",
  "GEORADIUS $k $w $w $u00 km ?COUNT:$u STORE|STOREDIST $k",
  "GEORADIUSBYMEMBER $k $m $u00 km ?STORE:$k",
  "GEORADIUS_RO $k $w $w $u00 km ?WITHCOORD",
  "GEORADIUSBYMEMBER_RO $k $m $u00 km",
  "ZRANGE $k 0 -1",
];

const GENERIC = [
  "EXPIRE $x $t ?NX|XX|GT|LT",
  "PEXPIRE $x $t000",
  "EXPIREAT $x 33177117420 ?GT|LT",
  "PEXPIREAT $x 33177117420000",
  "EXPIRE|PEXPIRE $x -1|0",
  "TTL|PTTL|EXPIRETIME|PEXPIRETIME|PERSIST $x",
  "TYPE $a",
  "RENAME|RENAMENX $x $x",
  "COPY $x $x ?DB:1 ?REPLACE",
  "MOVE $x 1|2",
  "OBJECT ENCODING|REFCOUNT|IDLETIME|FREQ $x",
  "DUMP $x",
  "RESTORE $x 0|$t000 $d ?REPLACE ?IDLETIME:$u",
  "MEMORY USAGE $x",
  "SORT|SORT_RO $y ?LIMIT:$u:$u ?ASC|DESC ?ALPHA",
  "SORT $y ?BY:$q ?GET:#|$q ?DESC",
  "SORT $y ?BY:nosort ?ALPHA STORE $x",
  "MGET $a+",
  "MSET $a:$v+",
  "EXISTS|DEL|UNLINK|TOUCH $a+",
  "EXISTS|DEL|UNLINK|TOUCH $a",
  "DBSIZE",
  "KEYS *|{a}*|p?|nosuch",
  "RANDOMKEY",
  "SELECT 0|0|1|2|15|16|-1|abc",
  "ECHO $v",
  "PING ?$v",
  "HELLO ?2|3",
  "NOSUCHCOMMAND $v $a",
  "OBJECT NOSUCHWORD $x",
  "GET $a",
];

/** Rare on purpose: a keyspace that is emptied all the time shows nothing. */
const EMPTYING = ["FLUSHDB ?ASYNC|SYNC", "FLUSHALL ?ASYNC|SYNC", "FLUSHALL NOSUCHWORD", "SCRIPT FLUSH ?SYNC"];

const SCRIPTS = [
  "EVAL $e 1 $x $v+",
  "EVAL $e 2 $x $x $v",
  "EVAL_RO $e 1 $x $v",
  "EVAL $e 0 $v",
  "EVAL $e $i $x",
  "SCRIPT LOAD $z",
  "SCRIPT EXISTS $h+",
  "EVALSHA $h 1 $x $v",
  "EVALSHA_RO $h 1 $x $v",
  "EVALSHA $h 2 $x $x $v $m",
  "GET $x",
];

export const FAMILIES: readonly Family[] = [
  { name: "strings", type: "s", templates: STRINGS },
  { name: "bitmaps", type: "s", templates: BITMAPS },
  { name: "hashes", type: "h", templates: HASHES },
  { name: "lists", type: "l", templates: LISTS },
  { name: "sets", type: "t", templates: SETS },
  { name: "sorted sets", type: "z", templates: SORTED_SETS },
  { name: "streams", type: "x", templates: STREAMS },
  { name: "hyperloglogs", type: "p", templates: HYPERLOGLOGS },
  { name: "geo", type: "g", templates: GEO },
  { name: "scripts", type: "s", templates: SCRIPTS },
  { name: "generic", type: "s", templates: GENERIC },
];

const COMMON = [STRINGS, HASHES, LISTS, SETS, SORTED_SETS, STREAMS, GENERIC, SCRIPTS].flat();

/** All together, and now and then an emptied keyspace. */
export const EVERYTHING: Family = {
  name: "everything",
  type: "s",
  templates: [...COMMON, ...COMMON, ...EMPTYING],
};
