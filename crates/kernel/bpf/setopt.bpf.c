// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sets the keep-alive options of sockets by cookie. The iterator holds a
 * socket's lock over the whole of its change: nobody sees half of it, and
 * what makes a change dangerous is looked at under the same lock.
 */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "record.h"

char LICENSE[] SEC("license") = "GPL";

#define SOL_SOCKET 1
#define SO_KEEPALIVE 9
#define SOL_TCP 6
#define TCP_KEEPIDLE 4
#define TCP_KEEPINTVL 5
#define TCP_KEEPCNT 6
#define TCP_USER_TIMEOUT 18

#define TCP_ESTABLISHED 1
#define TCP_FIN_WAIT2 5
#define TCP_CLOSE_WAIT 8
#define TCP_LISTEN 10
#define ICSK_TIME_PROBE0 3

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct tcpalive_change);
} changes SEC(".maps");

/* Only say what would become of each. */
bool dry_run = false;

static __always_inline void read_options(struct tcpalive_options *options, const struct tcp_sock *tp)
{
	const struct inet_connection_sock *icsk = &tp->inet_conn;

	options->idle = tp->keepalive_time;
	options->interval = tp->keepalive_intvl;
	options->user_timeout = icsk->icsk_user_timeout;
	options->count = tp->keepalive_probes;
	options->enabled = !!(icsk->icsk_inet.sk.__sk_common.skc_flags & (1ul << SOCK_KEEPOPEN));
}

static __always_inline bool same(const struct tcpalive_options *a, const struct tcpalive_options *b)
{
	return a->idle == b->idle && a->interval == b->interval && a->user_timeout == b->user_timeout &&
	       a->count == b->count && a->enabled == b->enabled;
}

/* Why the change must not be made now, or TCPALIVE_SET. */
static __always_inline __u32 obstacle(const struct tcpalive_change *change, const struct tcp_sock *tp)
{
	const struct inet_connection_sock *icsk = &tp->inet_conn;
	const struct sock_common *skc = &icsk->icsk_inet.sk.__sk_common;
	__u32 state = skc->skc_state;

	if (!same(&change->before, &change->now))
		return TCPALIVE_OTHER_OPTIONS;
	/* The timer of an orphan in FIN_WAIT2 is the one that ends it. */
	if (skc->skc_flags & (1ul << SOCK_DEAD))
		return TCPALIVE_NO_OWNER;
	if (state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT && state != TCP_FIN_WAIT2 &&
	    state != TCP_LISTEN)
		return TCPALIVE_OTHER_STATE;
	if (!change->enabled && !change->shortens_user_timeout)
		return TCPALIVE_SET;
	/* tcp_keepalive_timer: when it fires next, it ends the connection
	 * without another probe. */
	if (change->enabled && icsk->icsk_probes_out &&
	    (change->user_timeout_in_force || icsk->icsk_probes_out >= change->count_in_force))
		return TCPALIVE_UNANSWERED;
	if (change->shortens_user_timeout) {
		/* tcp_write_timeout counts from the first retransmission,
		 * which may be longer ago than the timeout. */
		if (icsk->icsk_retransmits)
			return TCPALIVE_RETRANSMITTING;
		/* tcp_probe_timer ends a peer that answers but does not read. */
		if (icsk->icsk_pending == ICSK_TIME_PROBE0)
			return TCPALIVE_WINDOW_CLOSED;
	}
	return TCPALIVE_SET;
}

static __always_inline void set(struct tcpalive_change *change, struct tcp_sock *tp, int level, int option,
				int value)
{
	int error = bpf_setsockopt(tp, level, option, &value, sizeof(value));

	if (error && !change->error)
		change->error = error;
}

/*
 * Values go in while the switch is off: TCP_KEEPIDLE on a socket that has
 * been idle for longer sends a probe at once, and counts it. Switching on
 * arms a full idle time. Interval and count do not touch the timer.
 */
static __always_inline void apply(struct tcpalive_change *change, struct tcp_sock *tp)
{
	bool was_on = change->now.enabled;
	bool off_meanwhile = was_on && (!change->enabled || change->idle_s);

	if (off_meanwhile)
		set(change, tp, SOL_SOCKET, SO_KEEPALIVE, 0);
	if (change->interval_s)
		set(change, tp, SOL_TCP, TCP_KEEPINTVL, change->interval_s);
	if (change->count)
		set(change, tp, SOL_TCP, TCP_KEEPCNT, change->count);
	if (change->sets_user_timeout)
		set(change, tp, SOL_TCP, TCP_USER_TIMEOUT, change->user_timeout);
	if (change->idle_s)
		set(change, tp, SOL_TCP, TCP_KEEPIDLE, change->idle_s);
	if (change->enabled && (!was_on || off_meanwhile))
		set(change, tp, SOL_SOCKET, SO_KEEPALIVE, 1);
}

SEC("iter/tcp")
int set_options(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcpalive_change *change;
	struct tcp_sock *tp;
	__u64 cookie;
	__u32 result;

	if (!skc)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0;
	cookie = bpf_get_socket_cookie(skc);
	change = bpf_map_lookup_elem(&changes, &cookie);
	/* Met before: the kernel's tables move under the walk. */
	if (!change || change->result != TCPALIVE_NOT_MET)
		return 0;

	read_options(&change->now, tp);
	change->probes_out = tp->inet_conn.icsk_probes_out;
	result = obstacle(change, tp);
	if (result == TCPALIVE_SET && !dry_run) {
		apply(change, tp);
		read_options(&change->now, tp);
		if (change->error)
			result = TCPALIVE_SET_FAILED;
	}
	change->result = result;
	return 0;
}
