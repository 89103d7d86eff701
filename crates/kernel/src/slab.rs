//! What a socket costs in kernel memory before anything is queued.
//!
//! A connected socket that a program holds is four slab objects: the TCP
//! socket, the socket's inode, its file and its dentry. Their sizes are those
//! of this kernel, as `/proc/slabinfo` has them (the object with its
//! alignment). `struct tcp_sock` can also be had from BTF, which serves when
//! slabinfo is closed; the last resort is Linux 6.18's sizes on x86-64.

use std::fs;

/// Bytes of each object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlabSizes {
    /// A full TCP socket over IPv4.
    pub tcp: u64,
    /// A full TCP socket over IPv6.
    pub tcp6: u64,
    /// A time-wait socket.
    pub time_wait: u64,
    /// A request socket.
    pub request: u64,
    /// Inode, file and dentry: what being held by a program adds.
    pub file: u64,
}

impl SlabSizes {
    /// Sizes of this kernel. `tcp_sock` is the size of `struct tcp_sock` from
    /// BTF, if known.
    #[must_use]
    pub fn of_this_kernel(tcp_sock: Option<u64>) -> Self {
        Self::from_slabinfo(
            &fs::read_to_string("/proc/slabinfo").unwrap_or_default(),
            tcp_sock,
        )
    }

    fn from_slabinfo(slabinfo: &str, tcp_sock: Option<u64>) -> Self {
        let size = |name: &str| {
            slabinfo.lines().find_map(|line| {
                let mut fields = line.split_whitespace();
                (fields.next()? == name).then_some(())?;
                fields.nth(2)?.parse::<u64>().ok()
            })
        };
        // Objects start on cache lines (SLAB_HWCACHE_ALIGN).
        let from_btf = tcp_sock.map(|bytes| bytes.next_multiple_of(64));
        let tcp = size("TCP").or(from_btf).unwrap_or(2368);
        Self {
            tcp,
            // struct tcp6_sock adds struct ipv6_pinfo.
            tcp6: size("TCPv6")
                .or(from_btf.map(|bytes| bytes + 192))
                .unwrap_or(2560),
            time_wait: size("tw_sock_TCP").unwrap_or(256),
            request: size("request_sock_TCP").unwrap_or(304),
            file: size("sock_inode_cache").unwrap_or(832)
                + size("filp").unwrap_or(192)
                + size("dentry").unwrap_or(192),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_third_column_of_slabinfo() {
        let text = "slabinfo - version: 2.1\n\
                    # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>\n\
                    TCP                   10     13   2368   13    8 : tunables 0 0 0 : slabdata 1 1 0\n\
                    sock_inode_cache      10     13    832   19    4 : tunables 0 0 0 : slabdata 1 1 0\n\
                    filp                  10     13    192   21    1 : tunables 0 0 0 : slabdata 1 1 0\n\
                    dentry                10     13    192   21    1 : tunables 0 0 0 : slabdata 1 1 0\n";
        let sizes = SlabSizes::from_slabinfo(text, None);
        assert_eq!((sizes.tcp, sizes.file), (2368, 1216));
    }

    #[test]
    fn btf_serves_when_slabinfo_is_closed() {
        assert_eq!(SlabSizes::from_slabinfo("", Some(2300)).tcp, 2304);
    }
}
