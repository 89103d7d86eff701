// SPDX-License-Identifier: GPL-2.0-only
/*
 * One pass over the kernel's sockets, as full records or as pulses (what can
 * change while a connection is checked), and one over all descriptors, which
 * finds the sockets' owners.
 */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "record.h"

char LICENSE[] SEC("license") = "GPL";

/* Set by user space before each pass. */
struct tcpalive_selection selection = {};

/* Filled by the `clock` program. */
__u64 clock_jiffies = 0;
__u64 clock_monotonic_ns = 0;
__u32 size_of_tcp_sock = 0;
/* Depth of this process's pid namespace: its numbers are the ones that mean
 * something to whoever reads the output. */
__u32 pid_level = 0;

/* Make the compiler keep these types in BTF: Rust's are generated from it. */
struct tcpalive_record record_type = {};
struct tcpalive_pulse pulse_type = {};
struct tcpalive_descriptor descriptor_type = {};

static __always_inline bool within(__u16 port, __u16 low, __u16 high)
{
	return low <= port && port <= high;
}

static __always_inline bool ports_selected(__u16 local, __u16 remote)
{
	return within(local, selection.local_port_low, selection.local_port_high) &&
	       within(remote, selection.remote_port_low, selection.remote_port_high) &&
	       (within(local, selection.either_port_low, selection.either_port_high) ||
		within(remote, selection.either_port_low, selection.either_port_high));
}

static __always_inline bool masked_equal(const __u32 *address, const __u32 *net, const __u32 *mask)
{
	return (address[0] & mask[0]) == net[0] && (address[1] & mask[1]) == net[1] &&
	       (address[2] & mask[2]) == net[2] && (address[3] & mask[3]) == net[3];
}

static __always_inline void copy_addresses(const struct sock_common *skc, __u32 *local, __u32 *remote)
{
	if (skc->skc_family == AF_INET6) {
		local[0] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[0];
		local[1] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[1];
		local[2] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[2];
		local[3] = skc->skc_v6_rcv_saddr.in6_u.u6_addr32[3];
		remote[0] = skc->skc_v6_daddr.in6_u.u6_addr32[0];
		remote[1] = skc->skc_v6_daddr.in6_u.u6_addr32[1];
		remote[2] = skc->skc_v6_daddr.in6_u.u6_addr32[2];
		remote[3] = skc->skc_v6_daddr.in6_u.u6_addr32[3];
	} else {
		local[0] = local[1] = remote[0] = remote[1] = 0;
		local[2] = remote[2] = bpf_htonl(0xffff);
		local[3] = skc->skc_rcv_saddr;
		remote[3] = skc->skc_daddr;
	}
}

/* State, ports and addresses: what every kind of socket has. */
static __always_inline bool common_selected(const struct sock_common *skc, __u32 *local, __u32 *remote)
{
	if (!(selection.states & (1u << (skc->skc_state & 31))))
		return false;
	if (!ports_selected(skc->skc_num, bpf_ntohs(skc->skc_dport)))
		return false;
	copy_addresses(skc, local, remote);
	return !selection.addresses ||
	       (masked_equal(local, selection.local, selection.local_mask) &&
		masked_equal(remote, selection.remote, selection.remote_mask));
}

static __always_inline bool keepalive_selected(const struct tcp_sock *tp, __u32 now)
{
	const struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	if (selection.keepalive) {
		bool on = sk->__sk_common.skc_flags & (1ul << SOCK_KEEPOPEN);

		if (on != (selection.keepalive == 1))
			return false;
	}
	if (selection.idle_jiffies) {
		__u32 since_ack = now - tp->rcv_tstamp;
		__u32 since_data = now - tp->inet_conn.icsk_ack.lrcvtime;

		if ((since_ack < since_data ? since_ack : since_data) < selection.idle_jiffies)
			return false;
	}
	return true;
}

static __always_inline void fill_common(struct tcpalive_record *record, const struct sock_common *skc)
{
	record->local_port = skc->skc_num;
	record->remote_port = bpf_ntohs(skc->skc_dport);
	record->state = skc->skc_state;
	record->bound_dev_if = skc->skc_bound_dev_if;
	if (skc->skc_family == AF_INET6)
		record->flags |= TCPALIVE_IPV6_SOCKET;
}

static __always_inline void fill_socket(struct tcpalive_record *record, const struct sock *sk)
{
	if (sk->sk_socket) {
		if (bpf_core_field_exists(sk->sk_ino)) {
			record->inode = sk->sk_ino;
		} else {
			struct inode *inode = (void *)sk->sk_socket +
					      bpf_core_field_offset(struct socket_alloc, vfs_inode);

			record->inode = BPF_CORE_READ(inode, i_ino);
		}
	}
	if (sk->__sk_common.skc_flags & (1ul << SOCK_DEAD))
		record->flags |= TCPALIVE_ORPHAN;
	if (sk->__sk_common.skc_flags & (1ul << SOCK_KEEPOPEN))
		record->flags |= TCPALIVE_KEEPOPEN;
	if (bpf_core_field_exists(sk->sk_cgrp_data.cgroup) && sk->sk_cgrp_data.cgroup)
		record->cgroup_id = sk->sk_cgrp_data.cgroup->kn->id;
	record->wmem_queued = sk->sk_wmem_queued;
	record->rmem_alloc = sk->sk_backlog.rmem_alloc.counter;
	record->forward_alloc = sk->sk_forward_alloc;
}

static __always_inline void fill_ip(struct tcpalive_record *record, const struct inet_sock *inet)
{
	record->ttl = inet->uc_ttl;
	record->tos = inet->tos;
	record->pmtudisc = inet->pmtudisc;
	record->hop_limit = -1;
	if (record->flags & TCPALIVE_IPV6_SOCKET) {
		struct ipv6_pinfo *np = inet->pinet6;

		if (np) {
			record->flow_label = bpf_ntohl(BPF_CORE_READ(np, flow_label)) & 0xfffff;
			record->hop_limit = BPF_CORE_READ(np, hop_limit);
			record->tclass = BPF_CORE_READ(np, tclass);
		}
	}
}

static __always_inline void fill_tcp(struct tcpalive_record *record, const struct tcp_sock *tp)
{
	const struct inet_connection_sock *icsk = &tp->inet_conn;

	record->rcv_tstamp = tp->rcv_tstamp;
	record->lrcvtime = icsk->icsk_ack.lrcvtime;
	record->lsndtime = tp->lsndtime;
	record->keepalive_time = tp->keepalive_time;
	record->keepalive_intvl = tp->keepalive_intvl;
	record->keepalive_probes = tp->keepalive_probes;
	record->user_timeout = icsk->icsk_user_timeout;
	record->snd_una = tp->snd_una;
	record->snd_nxt = tp->snd_nxt;
	record->write_seq = tp->write_seq;
	record->retransmits = icsk->icsk_retransmits;
	record->probes_out = icsk->icsk_probes_out;
	record->pending = icsk->icsk_pending;
	record->backoff = icsk->icsk_backoff;
}

/* What probes are built from, and what decides about their route. */
static __always_inline void fill_probing(struct tcpalive_record *record, const struct tcp_sock *tp)
{
	const struct inet_connection_sock *icsk = &tp->inet_conn;
	const struct sock *sk = &icsk->icsk_inet.sk;

	fill_ip(record, &icsk->icsk_inet);
	record->mark = sk->sk_mark;
	record->txhash = sk->sk_txhash;
	record->fsuid = BPF_CORE_READ(sk, sk_socket, file, f_cred, fsuid.val);
	record->fsgid = BPF_CORE_READ(sk, sk_socket, file, f_cred, fsgid.val);
	if (bpf_core_field_exists(sk->sk_rx_dst_ifindex))
		record->rx_ifindex = sk->sk_rx_dst_ifindex;
	if (bpf_core_field_exists(struct dst_entry, xfrm) && BPF_CORE_READ(sk, sk_dst_cache, xfrm))
		record->flags |= TCPALIVE_IPSEC;
	record->rcv_nxt = tp->rcv_nxt;
	record->rcv_wnd = tp->rcv_wnd;
	record->rcv_wup = tp->rcv_wup;
	record->snd_wnd = tp->snd_wnd;
	record->ts_recent = tp->rx_opt.ts_recent;
	record->tsoffset = tp->tsoffset;
	record->packets_out = tp->packets_out;
	record->total_retrans = tp->total_retrans;
	record->data_segs_out = tp->data_segs_out;
	record->rto = icsk->icsk_rto;
	record->srtt_us = tp->srtt_us;
	record->retrans_stamp = tp->retrans_stamp;
	record->rcv_wscale = BPF_CORE_READ_BITFIELD(tp, rx_opt.rcv_wscale);
	if (BPF_CORE_READ_BITFIELD(tp, rx_opt.tstamp_ok))
		record->flags |= TCPALIVE_TSTAMP_OK;
	if (bpf_core_field_exists(tp->tcp_usec_ts) && BPF_CORE_READ_BITFIELD(tp, tcp_usec_ts))
		record->flags |= TCPALIVE_USEC_TS;
	if (bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp)
		record->flags |= TCPALIVE_MPTCP;
	if ((bpf_core_field_exists(tp->md5sig_info) && tp->md5sig_info) ||
	    (bpf_core_field_exists(tp->ao_info) && tp->ao_info))
		record->flags |= TCPALIVE_SIGNED;
}

SEC("iter/tcp")
int sweep_sockets(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcpalive_record record = {};
	struct tcp_sock *tp;

	if (!skc)
		return 0;
	if (!common_selected(skc, (__u32 *)record.local, (__u32 *)record.remote))
		return 0;

	record.now = bpf_jiffies64();
	tp = bpf_skc_to_tcp_sock(skc);
	if (tp) {
		if (!keepalive_selected(tp, record.now))
			return 0;
		record.kind = TCPALIVE_FULL;
		fill_common(&record, skc);
		fill_socket(&record, &tp->inet_conn.icsk_inet.sk);
		fill_tcp(&record, tp);
		if (selection.for_probing)
			fill_probing(&record, tp);
	} else {
		/* Neither has a keep-alive switch, nor a time it was heard. */
		if (selection.keepalive || selection.idle_jiffies)
			return 0;
		record.kind = skc->skc_state == TCP_TIME_WAIT ? TCPALIVE_TIMEWAIT : TCPALIVE_REQUEST;
		fill_common(&record, skc);
	}
	record.uid = ctx->uid;
	record.cookie = bpf_get_socket_cookie(skc);
	if (selection.for_probing)
		bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	else
		bpf_seq_write(ctx->meta->seq, &record, __builtin_offsetof(struct tcpalive_record, snd_wnd));
	return 0;
}

SEC("iter/tcp")
int pulse_sockets(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	__u32 local[4], remote[4];
	struct tcpalive_pulse pulse = {};
	struct tcp_sock *tp;

	if (!skc)
		return 0;
	if (!common_selected(skc, local, remote))
		return 0;
	/* A time-wait socket has left the connection's life behind: its
	 * absence among the pulses says that the connection has closed. */
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0;

	pulse.cookie = bpf_get_socket_cookie(skc);
	pulse.now = bpf_jiffies64();
	pulse.rcv_tstamp = tp->rcv_tstamp;
	pulse.lrcvtime = tp->inet_conn.icsk_ack.lrcvtime;
	pulse.snd_una = tp->snd_una;
	pulse.snd_nxt = tp->snd_nxt;
	pulse.write_seq = tp->write_seq;
	pulse.rcv_nxt = tp->rcv_nxt;
	pulse.rcv_wnd = tp->rcv_wnd;
	pulse.rcv_wup = tp->rcv_wup;
	pulse.ts_recent = tp->rx_opt.ts_recent;
	pulse.packets_out = tp->packets_out;
	pulse.state = skc->skc_state;
	pulse.retransmits = tp->inet_conn.icsk_retransmits;
	pulse.probes_out = tp->inet_conn.icsk_probes_out;
	pulse.rcv_wscale = BPF_CORE_READ_BITFIELD(tp, rx_opt.rcv_wscale);
	bpf_seq_write(ctx->meta->seq, &pulse, sizeof(pulse));
	return 0;
}

static __always_inline __u32 process_id(const struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
	void *numbers = (void *)pid + bpf_core_field_offset(struct pid, numbers);
	__u32 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number),
			      numbers + pid_level * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(struct upid, nr));
	return number;
}

SEC("iter/task_file")
int sweep_descriptors(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct tcpalive_descriptor descriptor = {};
	struct socket *socket;
	struct inode *inode;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	if (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6)
		return 0;
	if (socket->type != SOCK_STREAM)
		return 0;

	inode = (void *)socket + bpf_core_field_offset(struct socket_alloc, vfs_inode);
	descriptor.inode = BPF_CORE_READ(inode, i_ino);
	descriptor.pid = process_id(task);
	descriptor.fd = ctx->fd;
	bpf_probe_read_kernel(descriptor.comm, sizeof(descriptor.comm), task->group_leader->comm);
	bpf_seq_write(ctx->meta->seq, &descriptor, sizeof(descriptor));
	return 0;
}

/* The kernel's two clocks at one moment: from them follows HZ. */
SEC("syscall")
int clock(void *ctx)
{
	clock_jiffies = bpf_jiffies64();
	clock_monotonic_ns = bpf_ktime_get_ns();
	size_of_tcp_sock = bpf_core_type_size(struct tcp_sock);
	pid_level = BPF_CORE_READ(bpf_get_current_task_btf(), thread_pid, level);
	return 0;
}
