/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's types, as far as these programs read them. Offsets are
 * relocated against the running kernel's BTF when a program is loaded
 * (preserve_access_index), so order and omissions do not matter here.
 */
#ifndef TCPALIVE_KERNEL_TYPES_H
#define TCPALIVE_KERNEL_TYPES_H

typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u16 __sum16;
typedef __u32 __wsum;
typedef _Bool bool;

#define true 1
#define false 0

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define TCP_TIME_WAIT 6
#define TCP_NEW_SYN_RECV 12
#define SOCK_KEEPOPEN 3	/* enum sock_flags */
#define SOCK_DEAD 0

/* Map types that are used here (uapi/linux/bpf.h). */
#define BPF_MAP_TYPE_HASH 1

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be32 u6_addr32[4];
	} in6_u;
};

typedef struct {
	long long counter;
} atomic64_t;

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__u32 val;
} kuid_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	int skc_bound_dev_if;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
	unsigned long skc_flags;
};

struct inode {
	unsigned long i_ino;
};

typedef struct {
	__u32 val;
} kgid_t;

struct cred {
	kuid_t fsuid;
	kgid_t fsgid;
};

struct file {
	const struct cred *f_cred;
};

struct socket {
	short type;
	struct file *file;
	struct sock *sk;
};

struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct xfrm_state;

struct dst_entry {
	struct xfrm_state *xfrm;
};

struct sock {
	struct sock_common __sk_common;
	struct {
		atomic_t rmem_alloc;
	} sk_backlog;
	int sk_forward_alloc;
	int sk_wmem_queued;
	struct socket *sk_socket;
	struct dst_entry *sk_dst_cache;
	int sk_rx_dst_ifindex;
	__u32 sk_mark;
	kuid_t sk_uid;
	__u16 sk_protocol;
	__u32 sk_txhash;
	unsigned long sk_ino;
	struct sock_cgroup_data sk_cgrp_data;
};

struct ipv6_pinfo {
	__be32 flow_label;
	__s16 hop_limit;
	__u8 tclass;
};

struct inet_sock {
	struct sock sk;
	struct ipv6_pinfo *pinet6;
	__s16 uc_ttl;
	__u8 tos;
	__u8 pmtudisc;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u32 icsk_rto;
	__u8 icsk_retransmits;
	__u8 icsk_pending;
	__u8 icsk_backoff;
	__u8 icsk_probes_out;
	struct {
		__u32 lrcvtime;
	} icsk_ack;
	__u32 icsk_user_timeout;
};

struct tcp_options_received {
	__u32 ts_recent;
	__u16 tstamp_ok : 1;
	__u16 rcv_wscale : 4;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 tsoffset;
	__u32 snd_wnd;
	__u8 tcp_usec_ts : 1;
	__u32 write_seq;
	__u32 lsndtime;
	__u32 rcv_nxt;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 total_retrans;
	__u32 data_segs_out;
	__u32 srtt_us;
	__u32 packets_out;
	__u32 rcv_wnd;
	__u32 rcv_tstamp;
	struct tcp_options_received rx_opt;
	__u32 rcv_wup;
	__u8 keepalive_probes;
	__u32 retrans_stamp;
	unsigned int keepalive_time;
	unsigned int keepalive_intvl;
	bool is_mptcp;
	void *md5sig_info;
	void *ao_info;
};

struct inet_timewait_sock {
	struct sock_common __tw_common;
};

struct tcp_timewait_sock {
	struct inet_timewait_sock tw_sk;
};

struct tcp_request_sock {
	int dummy;
};

struct upid {
	int nr;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct task_struct {
	struct pid *thread_pid;
	char comm[16];
	struct task_struct *group_leader;
};

struct seq_file {
	int dummy;
};

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
	unsigned int uid;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop

/* uapi/linux/bpf.h: the context of a socket filter, accessed as such. */
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
};

/* Named by bpf_helper_defs.h. */
struct bpf_fib_lookup;
struct bpf_perf_event_data;
struct bpf_perf_event_value;
struct bpf_pidns_info;
struct bpf_redir_neigh;
struct bpf_sock;
struct bpf_sock_addr;
struct bpf_sock_ops;
struct bpf_sock_tuple;
struct bpf_spin_lock;
struct bpf_sysctl;
struct bpf_tcp_sock;
struct bpf_tunnel_key;
struct bpf_xfrm_state;
struct linux_binprm;
struct pt_regs;
struct sk_reuseport_md;
struct sockaddr;
struct tcp6_sock;
struct udp6_sock;
struct unix_sock;
struct xdp_md;
struct path;
struct btf_ptr;
struct mptcp_sock;
struct bpf_dynptr;
struct iphdr;
struct ipv6hdr;
struct bpf_timer;
struct sk_msg_md;
struct cgroup;
struct inode;
struct nf_conn;

#endif
