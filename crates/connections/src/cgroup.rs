//! What a cgroup path says about containers and systemd units.
//!
//! A path names what the container engine or systemd chose to call the
//! cgroup; nothing else is asked. Where containers are nested, the innermost
//! one is meant: it is the one whose programs hold the socket.
//!
//! ```
//! use tcpalive_connections::cgroup::{container_id, systemd_unit};
//!
//! let path = "/machine.slice/machine-web.scope/payload/system.slice/nginx.service";
//! assert_eq!(container_id(path), Some("web"));
//! assert_eq!(systemd_unit(path), Some("nginx.service"));
//! assert_eq!(container_id("/system.slice/nginx.service"), None);
//! ```

/// The container that a cgroup path names: the 64-digit id that Docker,
/// containerd, CRI-O and Podman use, or the name of an LXC or
/// systemd-nspawn container.
///
/// A container's monitor (`conmon`, `lxc.monitor`) and a virtual machine
/// (`machine-qemu…`) run on the host: they are no container.
#[must_use]
pub fn container_id(path: &str) -> Option<&str> {
    let mut components = path.rsplit('/').peekable();
    while let Some(component) = components.next() {
        let parent = components.peek().copied();
        let found = engine_id(component)
            .or_else(|| lxc_name(component, parent))
            .or_else(|| nspawn_name(component));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The systemd unit that a cgroup path names: the innermost service, scope,
/// socket, mount or swap, or else the innermost slice.
#[must_use]
pub fn systemd_unit(path: &str) -> Option<&str> {
    // The unit types that have a cgroup: systemd.resource-control(5).
    const LEAVES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    let innermost = |suffixes: &[&str]| {
        path.rsplit('/').find(|component| {
            suffixes
                .iter()
                .any(|suffix| component.len() > suffix.len() && component.ends_with(suffix))
        })
    };
    let component = innermost(&LEAVES).or_else(|| innermost(&[".slice"]))?;
    // A unit whose name would collide with a file of the cgroup's own, such
    // as `cpu.service`, has a `_` before its name (cg_escape in systemd).
    Some(component.strip_prefix('_').unwrap_or(component))
}

/// `<id>`, `<engine>-<id>.scope`, `libpod-<id>`, `…:cri-containerd:<id>`.
fn engine_id(component: &str) -> Option<&str> {
    const LENGTH: usize = 64;
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let (engine, id) = name.split_at_checked(name.len().checked_sub(LENGTH)?)?;
    let is_id = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_container =
        engine.is_empty() || (engine.ends_with(['-', ':']) && !engine.ends_with("conmon-"));
    (is_id && is_container).then_some(id)
}

/// `/lxc/NAME`, `/lxc.payload/NAME`, `/lxc.payload.NAME`.
fn lxc_name<'a>(component: &'a str, parent: Option<&str>) -> Option<&'a str> {
    let name = match parent {
        Some("lxc" | "lxc.payload") => component,
        _ => component.strip_prefix("lxc.payload.")?,
    };
    (!name.is_empty()).then_some(name)
}

/// `machine-NAME.scope`, `systemd-nspawn@NAME.service`.
fn nspawn_name(component: &str) -> Option<&str> {
    let name = match component.strip_prefix("machine-") {
        // libvirt registers its virtual machines as `machine-qemu\x2d1\x2dNAME`.
        Some(rest) if rest.starts_with("qemu") => return None,
        Some(rest) => rest.strip_suffix(".scope")?,
        None => component
            .strip_prefix("systemd-nspawn@")?
            .strip_suffix(".service")?,
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6c3d3e0c7f1d4a9b8e2f5061728394a5b6c7d8e9f00112233445566778899aab";
    const OTHER: &str = "aa3d3e0c7f1d4a9b8e2f5061728394a5b6c7d8e9f00112233445566778899a00";

    /// The path with `ID` and `OTHER` filled in names the container `ID`.
    fn names_id(path: &str) {
        let path = path.replace("OTHER", OTHER).replace("ID", ID);
        assert_eq!(container_id(&path), Some(ID), "{path}");
    }

    fn is_host(path: &str) {
        let path = path.replace("ID", ID);
        assert_eq!(container_id(&path), None, "{path}");
    }

    #[test]
    fn docker() {
        names_id("/docker/ID");
        names_id("/system.slice/docker-ID.scope");
        names_id("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope");
    }

    #[test]
    fn containerd_under_kubernetes() {
        names_id("/kubepods/burstable/pod2f4b1c1e-8a1f-4d3e-9a53-0d8c6c4e2a11/ID");
        names_id(
            "/kubepods.slice/kubepods-burstable.slice/\
             kubepods-burstable-pod2f4b1c1e_8a1f_4d3e_9a53_0d8c6c4e2a11.slice/\
             cri-containerd-ID.scope",
        );
        // A runtime that takes a systemd parent for a cgroupfs one.
        names_id(
            "/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:ID",
        );
    }

    #[test]
    fn podman() {
        names_id("/machine.slice/libpod-ID.scope");
        names_id("/machine.slice/libpod-ID.scope/container");
        names_id("/libpod_parent/libpod-ID");
    }

    #[test]
    fn crio() {
        names_id("/kubepods.slice/kubepods-pod1.slice/crio-ID.scope");
        names_id("/kubepods.slice/kubepods-pod1.slice/crio-ID");
    }

    #[test]
    fn lxc() {
        assert_eq!(container_id("/lxc/web-1"), Some("web-1"));
        assert_eq!(
            container_id("/lxc/101/ns/system.slice/ssh.service"),
            Some("101")
        );
        assert_eq!(container_id("/lxc.payload.web-1/init.scope"), Some("web-1"));
        assert_eq!(container_id("/lxc.payload/web-1"), Some("web-1"));
    }

    #[test]
    fn nspawn() {
        assert_eq!(
            container_id("/machine.slice/machine-debian.scope/payload"),
            Some("debian")
        );
        assert_eq!(
            container_id("/machine.slice/systemd-nspawn@debian.service/payload/init.scope"),
            Some("debian")
        );
    }

    #[test]
    fn the_innermost_container_wins() {
        names_id("/lxc/web-1/docker/ID");
        names_id("/docker/OTHER/kubepods/besteffort/pod1/ID");
        names_id("/docker/OTHER/docker/ID/init.scope");
    }

    #[test]
    fn the_host_is_no_container() {
        is_host("");
        is_host("/");
        is_host("/init.scope");
        is_host("/system.slice/nginx.service");
        is_host("/docker");
        is_host("/lxc/");
        is_host("/lxc.payload.");
        is_host("/machine.slice/machine-.scope");
        is_host("/docker/deadbeef");
        is_host("/docker/xID");
        is_host(&format!("/docker/{}", ID.to_uppercase()));
    }

    #[test]
    fn monitors_and_virtual_machines_are_no_containers() {
        is_host("/machine.slice/libpod-conmon-ID.scope");
        is_host("/kubepods.slice/crio-conmon-ID.scope");
        is_host("/lxc.monitor.web-1");
        is_host(r"/machine.slice/machine-qemu\x2d1\x2ddebian.scope");
    }

    #[test]
    fn a_multi_byte_name_is_not_cut_apart() {
        is_host(&"ü".repeat(40));
        is_host(&format!("/ü{}", "a".repeat(63)));
    }

    #[test]
    fn unit_of_a_service_is_the_service() {
        assert_eq!(
            systemd_unit("/system.slice/nginx.service"),
            Some("nginx.service")
        );
        assert_eq!(
            systemd_unit("/system.slice/system-getty.slice/getty@tty1.service"),
            Some("getty@tty1.service")
        );
        assert_eq!(
            systemd_unit("/system.slice/nginx.service/worker"),
            Some("nginx.service")
        );
    }

    #[test]
    fn unit_of_a_user_service_is_the_innermost() {
        let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service";
        assert_eq!(systemd_unit(path), Some("syncthing.service"));
    }

    #[test]
    fn unit_of_a_login_is_its_scope() {
        let path = "/user.slice/user-1000.slice/session-3.scope";
        assert_eq!(systemd_unit(path), Some("session-3.scope"));
    }

    #[test]
    fn a_slice_is_named_only_where_nothing_better_is() {
        assert_eq!(systemd_unit("/system.slice"), Some("system.slice"));
        assert_eq!(
            systemd_unit("/user.slice/user-0.slice"),
            Some("user-0.slice")
        );
        assert_eq!(systemd_unit("/a.service/b.slice"), Some("a.service"));
    }

    #[test]
    fn a_unit_named_like_a_controller_is_unescaped() {
        assert_eq!(
            systemd_unit("/system.slice/_cpu.service"),
            Some("cpu.service")
        );
    }

    #[test]
    fn no_unit_where_no_component_has_a_units_suffix() {
        assert_eq!(systemd_unit("/"), None);
        assert_eq!(systemd_unit("/docker/x"), None);
        assert_eq!(systemd_unit("/.service"), None);
    }
}
