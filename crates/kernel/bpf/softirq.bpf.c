// SPDX-License-Identifier: GPL-2.0-only
/*
 * Adds up how long this machine's soft interrupts run, by kind: two readings
 * of the clock for each, which are a few a second, so what is measured does
 * not feel it. On demand also how long each received packet of one network
 * namespace is worked on, by the side that receives it.
 */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "record.h"

char LICENSE[] SEC("license") = "GPL";

#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define SOFTIRQ_NET_RX 3	/* linux/interrupt.h */

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
	__u16 network_header;
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

/* 0: received by the port that is watched; 1: sent by it; 2: anything else. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 3);
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

/* The packet that was worked on is done with. */
static __always_inline void end_packet(void)
{
	__u32 side;

#pragma unroll
	for (side = 0; side < 3; side++)
		end(&sides, side);
}

SEC("raw_tp/softirq_exit")
int softirq_ends(__u64 *args)
{
	end(&kinds, args[0]);
	if (watched_port && args[0] == SOFTIRQ_NET_RX)
		end_packet();
	return 0;
}

/* Which of `sides` a packet belongs to. Its bytes are read, not trusted. */
static __always_inline __u32 side_of(struct sk_buff *skb)
{
	struct {
		__u16 source;
		__u16 destination;
	} ports = {};
	unsigned char *ip = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	__u8 version_length = 0;

	if (BPF_CORE_READ(skb, dev, nd_net.net, ns.inum) != watched_netns)
		return 2;
	if (bpf_probe_read_kernel(&version_length, sizeof(version_length), ip) || version_length >> 4 != 4)
		return 2;
	if (bpf_probe_read_kernel(&ports, sizeof(ports), ip + (version_length & 15) * 4))
		return 2;
	if (ports.destination == watched_port)
		return 0;
	return ports.source == watched_port ? 1 : 2;
}

/* Packets come one after another: where one begins, the one before has ended. */
SEC("?raw_tp/netif_receive_skb")
int packet_begins(__u64 *args)
{
	end_packet();
	begin(&sides, side_of((struct sk_buff *)args[0]));
	return 0;
}
