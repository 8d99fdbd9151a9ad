/* The plugin ABI of Headgate, version 0.
 *
 * A plugin is a shared object that speaks one product's language. It exports one symbol,
 * hg_plugin_v0, and is given one table of host functions. The core pools, queues, retries, times
 * out, counts and grants; a plugin connects, routes, executes, resets, cancels and closes, and says
 * truthfully what happened to the store.
 *
 *   driver      one configured store; thread-safe
 *   connection  one physical connection, of one lane, to one endpoint
 *   operation   one attempt of one call on one connection, named by a hg_op
 *
 * Rules for the whole border:
 *   - C11, no compiler types, no exceptions, no ownership: neither side frees the other's memory.
 *   - Every struct starts with its size in bytes as the side that filled it was compiled; the other
 *     side reads no field beyond it. Fields are only appended. Arrays hold pointers.
 *   - A NULL function means "unsupported", except where marked (required).
 *   - Every host function takes the host first. None of them calls back into the plugin.
 *   - Calls on one connection never nest or overlap, except conn_cancel.
 *   - Bodies and replies are msgpack as PROTOCOL.md says; the numbers of code and outcome are its.
 *
 * v0 may change until four stores have passed conformance; then it is frozen as v1.
 */
#ifndef HEADGATE_PLUGIN_H
#define HEADGATE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HG_ABI_VERSION 0u
#define HG_EXPORT __attribute__((visibility("default")))

typedef uint64_t hg_op;      /* slot and generation; 0 is never a valid operation */
typedef uint64_t hg_conn_id; /* the host's name for a connection */

typedef struct hg_driver hg_driver;         /* the plugin's; opaque to the host */
typedef struct hg_connection hg_connection; /* the plugin's; opaque to the host */
typedef struct hg_touches hg_touches;       /* the host's; lent during driver_route */

typedef struct hg_bytes {
  const uint8_t* data;
  uint64_t size;
} hg_bytes;

/* codes: PROTOCOL.md, "Codes" */
enum {
  HG_OK = 0, HG_INVALID = 1, HG_UNSUPPORTED = 2, HG_UNAUTHENTICATED = 3, HG_DENIED = 4,
  HG_NOT_FOUND = 5, HG_EXISTS = 6, HG_CONFLICT = 7, HG_CONSTRAINT = 8, HG_TOO_LARGE = 9,
  HG_OVERLOADED = 10, HG_QUEUE_TIMEOUT = 11, HG_DEADLINE = 12, HG_CANCELLED = 13,
  HG_TRANSACTION_EXPIRED = 14, HG_TRANSACTION_ABORTED = 15, HG_IN_PROGRESS = 16,
  HG_UNAVAILABLE = 17, HG_STORE_ERROR = 18, HG_DRAINING = 19, HG_INTERNAL = 20
};

/* what an attempt did to the store */
enum { HG_NOT_SENT = 0, HG_REJECTED = 1, HG_ROLLED_BACK = 2, HG_APPLIED = 3, HG_UNKNOWN = 4 };

/* what would help */
enum {
  HG_RETRY_NEVER = 0,
  HG_RETRY_SAME_CONNECTION = 1,
  HG_RETRY_NEW_CONNECTION = 2,  /* this one is stale; at once on another */
  HG_RETRY_OTHER_ENDPOINT = 3,  /* this endpoint has the wrong role */
  HG_RETRY_REROUTE = 4,         /* ask driver_route again: no pause, no budget; at most 5 hops */
  HG_RETRY_BACKOFF = 5,         /* after a pause; retry_after_ms is a hint, 0 = the policy's */
  HG_RETRY_WAIT = 6             /* verbs that wait by nature: nothing was done; ask again when
                                   host->wake names wait_token, or after retry_after_ms. Costs no
                                   budget and is no attempt. */
};

/* An error. `size`, then what happened. Text is UTF-8, NUL-terminated, never a parameter's value
 * and never a secret. `detail` is one msgpack value or empty, lent until the call that took the
 * error returns. */
typedef struct hg_error {
  uint32_t size;
  int32_t code;
  int32_t outcome;
  int32_t retry;
  uint32_t retry_after_ms;
  int32_t vendor_code;
  uint32_t breaker; /* 1: counts toward the endpoint's breaker */
  char sqlstate[6]; /* "" where there is none */
  char message[512];
  hg_bytes detail;
  uint64_t wait_token; /* HG_RETRY_WAIT: what host->wake will name; 0 = only the pause */
  uint32_t full;       /* of conn_open: 1: the store has no room for another connection. The host
                          makes do with those it has, and asks for one more now and then. */
} hg_error;

/* The end of an operation. */
enum { HG_CONN_CLEAN = 0, HG_CONN_NEEDS_RESET = 1, HG_CONN_BROKEN = 2 };
enum { HG_LEASE_NONE = 0, HG_LEASE_OPEN = 1, HG_LEASE_FAILED = 2 };
enum {
  HG_DONE_REPLAYED = 1,       /* a recorded reply of the same idempotency key */
  HG_DONE_NOT_REPLICATED = 2, /* applied, but a standby may lack it */
  HG_DONE_KEEP_BODY = 4,      /* with an error: the bytes in the sink are the reply's body */
  HG_DONE_ROWS_AFFECTED = 8,  /* rows_affected is meaningful */
  HG_DONE_LAST_ID = 16,       /* last_id is meaningful */
  HG_DONE_MORE = 32           /* this thread completes another operation at once (the next of a
                                 batch that was committed as one): the loop is woken for all
                                 together. The last one of them must not carry it. */
};
typedef struct hg_done {
  uint32_t size;
  int32_t connection;  /* HG_CONN_* */
  int32_t lease;       /* HG_LEASE_*: state of the connection's lease after this operation.
                          OPEN keeps the connection for this caller; NONE ends the lease; FAILED:
                          the transaction can only be rolled back. */
  uint32_t flags;      /* HG_DONE_* */
  int64_t rows_affected;
  int64_t last_id;
  const hg_error* error;  /* NULL: ok, outcome applied */
  hg_bytes warnings;      /* one msgpack array of str, or empty */
  hg_bytes receipt;       /* at most 64 bytes, see hg_call.receipt */
} hg_done;

/* One call, as the plugin sees it. Lent until its complete(). */
enum {
  HG_CALL_READ_ONLY = 1,
  HG_CALL_IDEMPOTENT = 2,
  HG_CALL_STREAM = 4, /* the caller gave `fetch` and takes parts */
  HG_CALL_UPLOAD = 8,
  HG_CALL_ALONE = 16 /* not in driver_route: nothing else is in flight on its connection, nor will
                        be before it has completed: its route said alone or lease, or it
                        runs in a lease */
};
typedef struct hg_call {
  uint32_t size;
  uint32_t flags;         /* HG_CALL_* */
  hg_op op;               /* 0 in driver_route */
  hg_bytes verb;          /* UTF-8, not NUL-terminated */
  hg_bytes body;          /* one well-formed msgpack value, checked by the host */
  hg_bytes service;       /* name of the calling service */
  hg_bytes key;           /* idempotency key, or empty */
  hg_bytes trace;         /* W3C traceparent, or empty */
  hg_bytes receipt;       /* of an earlier attempt whose reply was lost, or empty */
  uint64_t tag;           /* what driver_route gave */
  uint64_t lease;         /* 0: none; else the host's name of the lease this call belongs to */
  uint64_t received_us;   /* host clock (host->now_us) when the call arrived */
  uint64_t deadline_us;   /* host clock: when the caller is answered */
  uint64_t work_until_us; /* host clock: when the store must be done; what is given to the store */
  uint64_t fetch;         /* rows a part, 0: not streaming */
  uint32_t attempt;       /* 1 for the first */
  uint32_t access;        /* HG_ACCESS_* of the pool that the call goes to */
  uint32_t hops;          /* reroutes so far */
  uint32_t reserved;
  const hg_error* previous; /* of the attempt before (reroute), or NULL */
} hg_call;

enum { HG_ACCESS_READ = 1, HG_ACCESS_WRITE = 2, HG_ACCESS_ADMIN = 3 };

/* driver_route's answer. */
typedef struct hg_route {
  uint32_t size;
  uint32_t lane;       /* index into describe's lanes */
  uint32_t lease;      /* 1: the call pins its connection (opens a transaction or streams) */
  uint32_t idempotent; /* 1: repeating is harmless by the verb's nature */
  uint64_t digest;     /* hash of the text without its values: groups like calls in statistics */
  uint64_t tag;        /* handed back in hg_call.tag */
  int32_t endpoint;    /* -1: any; else an index into hg_driver_config.endpoints */
  uint32_t alone;      /* 1: never on one connection with other calls (it may be slow) */
  uint32_t subscription; /* 1: streams until somebody ends it; a reload leaves it stream_max more */
  uint32_t reserved;
} hg_route;

/* What driver_open gets. Memory is lent for the call. */
typedef struct hg_driver_config {
  uint32_t size;
  uint32_t kind;      /* index into describe's kinds */
  uint64_t driver_id; /* the host's name of this store, for host->wake and host->log */
  hg_bytes store;     /* its name */
  hg_bytes options;   /* msgpack map: the store's plugin options, checked against describe */
  hg_bytes statements;/* msgpack map name -> text: the catalogue of named statements */
  hg_bytes state_dir; /* directory in which embedded stores keep relative paths */
  uint64_t reply_max; /* bytes of an unstreamed reply */
  uint64_t part_max;  /* bytes of a part */
} hg_driver_config;

/* What conn_open gets. Memory is lent for the call. */
typedef struct hg_connect {
  uint32_t size;
  uint32_t lane;
  uint32_t access;          /* HG_ACCESS_READ: the store itself must hold it read-only */
  uint32_t generation;      /* of the credential */
  hg_conn_id id;            /* for host->watch, host->timer, host->lost */
  uint64_t deadline_us;
  hg_bytes endpoint;        /* "host:port", a socket path, or empty for embedded stores */
  hg_bytes account;         /* login name, or empty */
  hg_bytes password;        /* wiped by the host after conn_open returns */
  hg_bytes label;           /* the credential's name, for application_name */
  hg_bytes tls;             /* msgpack map of TLS settings, or empty: README.md, "TLS" */
  uint32_t flags;           /* HG_CONNECT_* */
  uint32_t reserved;
} hg_connect;
/* The operator asks by `check-config --connect`. Look at what the account may do, too, and log()
 * as WARN what a careful operator should know: of HG_ACCESS_READ, that it could write. */
enum { HG_CONNECT_INSPECT = 1 };

/* Answers of the sink and of uploads. */
enum { HG_GO = 0, HG_FULL = 1, HG_STOP = 2, HG_WAIT = 3 };
enum { HG_TAKE_DATA = 0, HG_TAKE_NOTHING = 1, HG_TAKE_END = 2, HG_TAKE_ABORTED = 3 };
enum { HG_IO_READ = 1, HG_IO_WRITE = 2 };
enum { HG_LOG_DEBUG = 0, HG_LOG_INFO = 1, HG_LOG_WARN = 2, HG_LOG_ERROR = 3 };
/* touch kinds */
enum { HG_TOUCH_TABLE = 0, HG_TOUCH_COLLECTION = 1, HG_TOUCH_KEY = 2, HG_TOUCH_STATEMENT = 3,
       HG_TOUCH_VERB = 4, HG_TOUCH_KEY_PREFIX = 5 };

typedef struct hg_host hg_host;
struct hg_host {
  uint32_t size;
  uint32_t abi_version;

  /* The host's monotonic clock in microseconds. Any thread. */
  uint64_t (*now_us)(const hg_host*);

  /* The sink of one operation: where its reply is written. From the thread that serves the
   * operation, between conn_submit and complete.
   * reserve: at least n writable bytes at *out, *room says how many; HG_GO, HG_FULL (the reply
   *   would exceed reply_max: complete with too_large) or HG_STOP (nobody waits any more).
   * commit: n of them are written. patch: overwrites bytes that were committed since the start, or
   *   since the last flush_part (offset counts from there). written: bytes committed since then.
   * rewind: forgets all that was committed and not flushed. */
  int32_t (*reserve)(const hg_host*, hg_op, uint64_t n, uint8_t** out, uint64_t* room);
  void (*commit)(const hg_host*, hg_op, uint64_t n);
  void (*patch)(const hg_host*, hg_op, uint64_t offset, const uint8_t* bytes, uint64_t n);
  uint64_t (*written)(const hg_host*, hg_op);
  void (*rewind)(const hg_host*, hg_op);

  /* Streams only: what was committed leaves as one part. HG_GO; HG_WAIT (event lanes only: it was
   * taken, stop until conn_resume; blocking lanes wait inside); HG_STOP: cancelled or expired, give
   * up. What follows the last flush_part leaves with the reply. */
  int32_t (*flush_part)(const hg_host*, hg_op);

  /* Uploads: the next piece, lent until the next take or complete of this op. Event lanes get
   * HG_TAKE_NOTHING and later conn_resume; blocking lanes wait inside. */
  int32_t (*take)(const hg_host*, hg_op, hg_bytes* out);

  /* The end of an operation: exactly once, from any thread. After it the plugin touches neither
   * the call nor its sink. A second complete is logged and dropped. */
  void (*complete)(const hg_host*, hg_op, const hg_done*);

  /* In driver_route: names something that the body uses. 1: allowed; 0: denied (go on or stop: the
   * host refuses the call anyway). verb: of the batch item, or the call's own. */
  int32_t (*touch)(const hg_host*, hg_touches*, hg_bytes verb, uint32_t kind, hg_bytes name);

  /* Event lanes, on the loop: which events of fd call conn_io (0: none), and when conn_timer is
   * called (host clock; 0: never). */
  void (*watch)(const hg_host*, hg_conn_id, int32_t fd, uint32_t events);
  void (*timer)(const hg_host*, hg_conn_id, uint64_t at_us);
  /* Event lanes: an idle connection has died. */
  void (*lost)(const hg_host*, hg_conn_id, const hg_error*);

  /* Any thread: calls of this store that wait with this token (HG_RETRY_WAIT) are tried again. */
  void (*wake)(const hg_host*, uint64_t driver_id, uint64_t wait_token);

  /* Any thread. Text without values of parameters and without secrets. */
  void (*log)(const hg_host*, uint64_t driver_id, int32_t level, hg_bytes message);
};

typedef struct hg_plugin {
  uint32_t size;
  uint32_t abi_version; /* HG_ABI_VERSION */
  const char* name;     /* "sqlite" */
  const char* version;

  /* (required) One msgpack map, the same at every call, owned by the plugin for ever. Its shape:
   * plugins/sdk/README.md, "describe". */
  hg_bytes (*describe)(void);

  /* (required) Makes a driver for one store. On the connect thread; may block. 0, or -1 and error.
   * It checks options and paths; it need not connect. */
  int32_t (*driver_open)(const hg_driver_config*, hg_driver** out, hg_error*);
  /* (required) After every connection of it has been closed. */
  void (*driver_close)(hg_driver*);

  /* Optional. DDL that Headgate needs in a store; one str to `out` when dry_run. Else an embedded
   * store makes it; one that takes a login has driver_init_store. */
  int32_t (*driver_prepare_store)(hg_driver*, uint32_t dry_run, hg_bytes* out, hg_error*);

  /* (required) Any thread, no I/O, no allocation that grows with what the body promises. Reads the
   * body far enough to choose a lane and to touch what it uses. 0, or -1 and error (unknown verb,
   * unknown field, wrong type): then nothing is sent. */
  int32_t (*driver_route)(hg_driver*, const hg_call*, hg_touches*, hg_route*, hg_error*);

  /* (required) On a connect thread; may block until deadline_us. *fd: a descriptor that the host
   * may watch while the connection is idle (blocking lanes), or -1. 0, or -1 and error. */
  int32_t (*conn_open)(hg_driver*, const hg_connect*, hg_connection** out, int32_t* fd, hg_error*);
  /* Optional. First call on the lane's own thread. */
  void (*conn_attach)(hg_connection*);

  /* (required) Starts n operations; each ends by exactly one host->complete().
   *
   * Event lanes: must not block; a call here that waits stalls every service.
   * Blocking lanes: runs on the connection's worker; all n complete before it returns.
   * Memory: each call is lent until its complete(). Reply bytes leave through its sink.
   * Errors: error->outcome says what happened to the store; never guess `rejected` after a byte
   *         was sent. */
  void (*conn_submit)(hg_connection*, const hg_call* const* calls, uint32_t n);

  /* Event lanes, on the loop (required for them). */
  void (*conn_io)(hg_connection*, uint32_t events);
  void (*conn_timer)(hg_connection*);
  /* Event lanes: credit or upload data has come for op. */
  void (*conn_resume)(hg_connection*, hg_op);

  /* Optional. On the cancel thread; may block; may overlap any other call on the connection. Stops
   * op if it still runs; a late cancel is a no-op and never hits another operation. */
  void (*conn_cancel)(hg_connection*, hg_op);

  /* (required for leasable lanes) An operation like any other: rolls back, clears session state,
   * then completes op: CLEAN to reuse, BROKEN to discard. */
  void (*conn_reset)(hg_connection*, hg_op);
  /* Optional. An operation: proves that an idle connection still lives. */
  void (*conn_ping)(hg_connection*, hg_op);

  /* (required) Completes everything that is still open, then frees the connection. */
  void (*conn_close)(hg_connection*);

  /* Optional. Makes in the store what driver_prepare_store shows, over a connection of its own that
   * logs in as hg_connect says (its lane and id mean nothing); may block until deadline_us. What is
   * there already is left alone. One str to `out`: what was done, a line each, for people. 0, or -1
   * and error: why not. */
  int32_t (*driver_init_store)(hg_driver*, const hg_connect*, hg_bytes* out, hg_error*);
} hg_plugin;

/* The one exported symbol. The host passes its table, valid for ever. NULL: error says why. */
typedef const hg_plugin* (*hg_plugin_entry)(const hg_host*, hg_error*);
#define HG_PLUGIN_ENTRY "hg_plugin_v0"

#ifdef __cplusplus
}
#endif
#endif
