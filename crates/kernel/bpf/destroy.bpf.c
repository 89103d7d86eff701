// SPDX-License-Identifier: GPL-2.0-only
/*
 * Destroys sockets by cookie, each only if nothing about it moved since it
 * was proven dead. The iterator holds the socket's lock from the comparison
 * to the destruction, so an answer that arrives late enough to save the
 * connection does save it.
 */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "record.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct tcpalive_condemned);
} condemned SEC(".maps");

/* Kernels from 6.5 on; older ones destroy through sock_diag. */
extern int bpf_sock_destroy(struct sock_common *sk) __ksym;

SEC("iter/tcp")
int destroy_sockets(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcpalive_condemned *entry;
	struct tcp_sock *tp;
	__u64 cookie;

	if (!skc)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0;
	cookie = bpf_get_socket_cookie(skc);
	entry = bpf_map_lookup_elem(&condemned, &cookie);
	if (!entry || entry->result != TCPALIVE_PENDING)
		return 0;

	if (entry->rcv_tstamp != tp->rcv_tstamp ||
	    entry->lrcvtime != tp->inet_conn.icsk_ack.lrcvtime ||
	    entry->snd_una != tp->snd_una || entry->snd_nxt != tp->snd_nxt ||
	    entry->write_seq != tp->write_seq || entry->rcv_nxt != tp->rcv_nxt ||
	    entry->state != skc->skc_state) {
		entry->result = TCPALIVE_CHANGED;
		return 0;
	}
	entry->error = bpf_sock_destroy(skc);
	entry->result = entry->error ? TCPALIVE_FAILED : TCPALIVE_DESTROYED;
	return 0;
}
