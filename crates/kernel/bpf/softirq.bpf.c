// SPDX-License-Identifier: GPL-2.0-only
/*
 * Adds up how long this machine's soft interrupts run, by kind, and on demand
 * how long tcp_v4_rcv takes in one network namespace, by the side that
 * receives. Two readings of the clock for each soft interrupt, which are a
 * few a second: what is measured does not feel it.
 */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include "record.h"

char LICENSE[] SEC("license") = "GPL";

#define BPF_MAP_TYPE_PERCPU_ARRAY 6

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	__u32 inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	possible_net_t nd_net;
};

struct sk_buff {
	struct net_device *dev;
	__u16 transport_header;
	unsigned char *head;
};

#pragma clang attribute pop

/* One entry for each kind of soft interrupt (enum in linux/interrupt.h). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 10);
	__type(key, __u32);
	__type(value, struct tcpalive_span);
} kinds SEC(".maps");

/* 0: received by the port that is watched; 1: sent by it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct tcpalive_span);
} sides SEC(".maps");

/* Namespace and port (network byte order) of `sides`. */
volatile const __u32 watched_netns = 0;
volatile const __u16 watched_port = 0;

static __always_inline void begin(void *map, __u32 key)
{
	struct tcpalive_span *span = bpf_map_lookup_elem(map, &key);

	if (span)
		span->entered_ns = bpf_ktime_get_ns();
}

static __always_inline void end(void *map, __u32 key)
{
	struct tcpalive_span *span = bpf_map_lookup_elem(map, &key);
	__u64 took;

	if (!span || !span->entered_ns)
		return;
	took = bpf_ktime_get_ns() - span->entered_ns;
	span->entered_ns = 0;
	span->total_ns += took;
	span->runs++;
	if (took > span->longest_ns)
		span->longest_ns = took;
}

SEC("raw_tp/softirq_entry")
int softirq_begins(__u64 *args)
{
	begin(&kinds, args[0]);
	return 0;
}

SEC("raw_tp/softirq_exit")
int softirq_ends(__u64 *args)
{
	end(&kinds, args[0]);
	return 0;
}

/* Which of `sides` a segment belongs to, or a number that is none. */
static __always_inline __u32 side(struct sk_buff *skb)
{
	struct {
		__u16 source;
		__u16 destination;
	} ports = {};

	if (skb->dev->nd_net.net->ns.inum != watched_netns)
		return 2;
	/* Its first bytes, whatever `head` points to. */
	if (bpf_probe_read_kernel(&ports, sizeof(ports), skb->head + skb->transport_header))
		return 2;
	if (ports.destination == watched_port)
		return 0;
	return ports.source == watched_port ? 1 : 2;
}

SEC("?fentry/tcp_v4_rcv")
int receive_begins(__u64 *args)
{
	begin(&sides, side((struct sk_buff *)args[0]));
	return 0;
}

SEC("?fexit/tcp_v4_rcv")
int receive_ends(__u64 *args)
{
	/* The segment may be freed by now: the side is the one that began. */
	end(&sides, 0);
	end(&sides, 1);
	return 0;
}
