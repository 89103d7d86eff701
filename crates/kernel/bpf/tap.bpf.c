// SPDX-License-Identifier: GPL-2.0-only
/*
 * A socket filter on a packet socket: notes, for the connections that are
 * being checked, when a probe really left through a device and what came
 * back, and lets no packet through to user space.
 */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "record.h"

char LICENSE[] SEC("license") = "GPL";

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define PACKET_OUTGOING 4
#define BPF_HDR_START_NET 1

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct tcpalive_flow);
	__type(value, struct tcpalive_sighting);
} watched SEC(".maps");

/* Connections that were heard at least once: user space polls this. */
__u64 connections_heard = 0;

struct ip4 {
	__u8 version_length;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__u32 source;
	__u32 destination;
};

struct ip6 {
	__u32 version_class_label;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__u32 source[4];
	__u32 destination[4];
};

struct tcp {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 data_offset;
	__u8 flags;
	__be16 window;
};

static __always_inline void set_mapped(__u8 *address, __u32 ipv4)
{
	__u32 *words = (__u32 *)address;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = ipv4;
}

static __always_inline void set_address(__u8 *address, const __u32 *ipv6)
{
	__u32 *words = (__u32 *)address;

	words[0] = ipv6[0];
	words[1] = ipv6[1];
	words[2] = ipv6[2];
	words[3] = ipv6[3];
}

static __always_inline void note_device(struct tcpalive_sighting *seen, __u32 ifindex)
{
	int i;

#pragma unroll
	for (i = 0; i < 4; i++) {
		if (seen->out_ifindex[i] == ifindex)
			return;
		if (!seen->out_ifindex[i]) {
			seen->out_ifindex[i] = ifindex;
			return;
		}
	}
}

static __always_inline void saw_outgoing(struct tcpalive_sighting *seen, const struct tcp *tcp, int payload,
					 __u32 ifindex)
{
	if (payload < 0 || payload > 1 || (tcp->flags & (TCP_SYN | TCP_FIN | TCP_RST)))
		return;
	if (bpf_ntohl(tcp->sequence) != seen->probe_sequence)
		return;
	seen->probe_out_ns = bpf_ktime_get_ns();
	seen->probes_out++;
	note_device(seen, ifindex);
}

static __always_inline void saw_incoming(struct tcpalive_sighting *seen, const struct tcp *tcp)
{
	__u64 now = bpf_ktime_get_ns();

	if (!seen->heard && !seen->resets)
		__sync_fetch_and_add(&connections_heard, 1);
	if (tcp->flags & TCP_RST) {
		seen->resets++;
	} else {
		seen->heard++;
		if (tcp->flags & TCP_ACK) {
			seen->last_ack = bpf_ntohl(tcp->acknowledgment);
			if (seen->last_ack == seen->snd_una)
				seen->acceptable++;
		}
	}
	seen->heard_ns = now;
	if (!seen->rtt_ns && seen->probe_out_ns)
		seen->rtt_ns = now - seen->probe_out_ns;
}

SEC("socket")
int watch(struct __sk_buff *skb)
{
	struct tcpalive_flow flow = {};
	struct tcpalive_sighting *seen;
	struct tcp tcp;
	bool outgoing = skb->pkt_type == PACKET_OUTGOING;
	__u32 offset;
	int payload;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct ip4 ip;

		if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof(ip), BPF_HDR_START_NET))
			return 0;
		/* Later fragments have no TCP header. */
		if (ip.protocol != IPPROTO_TCP || (ip.fragment & bpf_htons(0x1fff)))
			return 0;
		offset = (ip.version_length & 15) * 4;
		payload = bpf_ntohs(ip.total_length) - (int)offset;
		if (outgoing) {
			set_mapped(flow.local, ip.source);
			set_mapped(flow.remote, ip.destination);
		} else {
			set_mapped(flow.remote, ip.source);
			set_mapped(flow.local, ip.destination);
		}
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ip6 ip;

		if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof(ip), BPF_HDR_START_NET))
			return 0;
		/* Answers behind extension headers are seen by the sweep alone. */
		if (ip.next_header != IPPROTO_TCP)
			return 0;
		offset = sizeof(ip);
		payload = bpf_ntohs(ip.payload_length);
		if (outgoing) {
			set_address(flow.local, ip.source);
			set_address(flow.remote, ip.destination);
		} else {
			set_address(flow.remote, ip.source);
			set_address(flow.local, ip.destination);
		}
	} else {
		return 0;
	}
	if (bpf_skb_load_bytes_relative(skb, offset, &tcp, sizeof(tcp), BPF_HDR_START_NET))
		return 0;
	payload -= (tcp.data_offset >> 4) * 4;
	if (outgoing) {
		flow.local_port = bpf_ntohs(tcp.source);
		flow.remote_port = bpf_ntohs(tcp.destination);
	} else {
		flow.remote_port = bpf_ntohs(tcp.source);
		flow.local_port = bpf_ntohs(tcp.destination);
	}

	seen = bpf_map_lookup_elem(&watched, &flow);
	if (!seen)
		return 0;
	if (outgoing)
		saw_outgoing(seen, &tcp, payload, skb->ifindex);
	else
		saw_incoming(seen, &tcp);
	return 0;
}
