//! The bench against the real kernel. Needs root; scenes and networks run beside other tests.

mod root {
    use std::fs;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    use crate::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Everything in the places where scenes leave things whose name has this beginning.
    fn left(prefix: &str) -> Vec<PathBuf> {
        let places = [PathBuf::from("/run/netns"), std::env::temp_dir(), cgroup2_mount()];
        let entries =
            places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .collect()
    }

    /// One test at a time: a scene's end kills what was started in its cgroup, and entering it moves
    /// the whole process.
    fn turn() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        require_root();
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own_prefix(scene: &str) -> String {
        format!("kmesh-{scene}-{}-", std::process::id())
    }

    fn host_interfaces() -> Vec<String> {
        let names = fs::read_dir("/sys/class/net").unwrap();
        let mut names: Vec<_> =
            names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn two_pods_talk_by_tcp_and_udp_in_both_families_and_nothing_is_left() {
        let _turn = turn();
        let before = host_interfaces();
        let mut network = Network::new("net");
        let (client, server) = (network.pod("client"), network.pod("server"));
        let servers = Servers::new(&server)
            .tcp(80, Family::Dual)
            .tcp(81, Family::V4)
            .tcp(82, Family::V6)
            .udp(53, Family::Dual);
        let v4 = |port| SocketAddr::from((server.v4, port));
        let v6 = |port| SocketAddr::from((server.v6, port));
        for address in [v4(80), v6(80), v4(81), v6(82)] {
            let answer = client.run(|| ask(address)).unwrap();
            assert_eq!((answer.pod.as_str(), answer.peer), ("server", address));
            assert_eq!(answer.seen_from, answer.local, "no translation on the way");
        }
        let mapped = SocketAddr::from((server.v4.to_ipv6_mapped(), 81));
        assert_eq!(client.run(|| ask(mapped)).unwrap().pod, "server");
        for address in [v4(82), v6(81), v4(9)] {
            let error = client.run(|| ask(address)).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{address}");
        }
        for address in [v4(53), v6(53)] {
            let (reply, from) = client.run(|| ask_udp(address, "hello")).unwrap();
            assert_eq!((reply.as_str(), from), ("server hello", address));
        }
        assert_eq!((servers.accepted(), servers.datagrams()), (5, 2));
        drop(servers);
        assert!(client.run(|| ask(v4(80))).is_err(), "stopped");
        assert_eq!(host_interfaces(), before, "the host's interfaces stay as they are");
        drop(network);
        assert_eq!(left(&own_prefix("net")), Vec::<PathBuf>::new());
    }

    #[test]
    fn echo_keeps_the_connection_and_stops_with_the_servers() {
        let _turn = turn();
        let mut network = Network::new("echo");
        let pod = network.pod("only");
        let servers = Servers::new(&pod).echo(7, Family::Dual);
        let mut stream = pod.run(|| TcpStream::connect((pod.v6, 7))).unwrap();
        let mut gone = pod.run(|| TcpStream::connect((pod.v4, 7))).unwrap();
        for word in ["one", "two"] {
            stream.write_all(word.as_bytes()).unwrap();
            let mut back = [0; 3];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, word.as_bytes());
        }
        gone.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(gone.read(&mut [0; 1]).unwrap(), 0);
        drop(servers);
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "closed by the server");
    }

    #[test]
    fn nginx_names_its_pod_and_a_command_runs_inside() {
        let _turn = turn();
        let mut network = Network::new("nginx");
        let (client, server) = (network.pod("client"), network.pod("red"));
        let nginx = Nginx::start(&server, &[80, 8080]);
        for url in [format!("http://{}/", server.v4), format!("http://[{}]:8080/", server.v6)] {
            let done = client.command("curl").args(["-gsi", "--max-time", "5", &url]).output();
            let text = String::from_utf8(done.unwrap().stdout).unwrap();
            assert!(text.contains("X-Pod: red\r\n") && text.ends_with("\r\n\r\nred\n"), "{text}");
        }
        drop(nginx);
        let closed = client.run(|| TcpStream::connect((server.v4, 80)));
        assert!(closed.is_err(), "nginx is gone");
        drop(network);
        assert_eq!(left(&own_prefix("nginx")), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_panic_inside_a_pod_goes_on_in_the_caller() {
        let _turn = turn();
        let mut network = Network::new("panic");
        let pod = network.pod("only");
        let caught = std::panic::catch_unwind(|| pod.run(|| panic!("inside")));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"inside"));
        assert!(pod.run(|| TcpStream::connect((pod.v4, 1))).is_err(), "the pod still works");
    }

    #[test]
    fn a_scene_has_a_cgroup_and_a_bpffs_of_its_own_and_leaves_nothing() {
        let _turn = turn();
        let mut scene = Scene::new("scene");
        let home = scene.cgroup().path().to_owned();
        assert_eq!(own_cgroup(), home, "this process is in it");
        let pod = scene.pod("only");
        let mut sleeper = pod.command("sleep").arg("600").spawn().unwrap();
        let comm = format!("/proc/{}/comm", sleeper.id());
        wait_until("nsenter to become sleep", PATIENCE, || {
            fs::read_to_string(&comm).unwrap().trim() == "sleep"
        });
        let procs = || fs::read_to_string(home.join("cgroup.procs")).unwrap();
        assert!(procs().lines().any(|pid| pid == sleeper.id().to_string()), "{}", procs());
        scene.config("a.yaml", yaml::service("web").cluster_ip(Ipv4Addr::new(10, 96, 0, 1)));
        assert!(fs::read_to_string(scene.config_dir().join("a.yaml")).unwrap().contains("web"));
        scene.remove_config("a.yaml");
        let bpffs = scene.bpffs().path().to_owned();
        assert!(is_mounted(&bpffs));
        drop(scene);
        let status = wait_until("the child to be killed", PATIENCE, || sleeper.try_wait().unwrap());
        assert!(!status.success(), "a process that the scene forgot is killed");
        assert_ne!(own_cgroup(), home);
        assert!(!is_mounted(&bpffs));
        assert_eq!(left(&own_prefix("scene")), Vec::<PathBuf>::new());
    }

    #[test]
    fn leftovers_of_the_dead_are_swept_and_the_living_stay() {
        let _turn = turn();
        // Above the largest process id that Linux gives.
        let dead = format!("kmesh-sweep-4194305-{}", std::process::id());
        let network = Network::new("sweep");
        let cgroup = cgroup2_mount().join(&dead);
        let temp = std::env::temp_dir().join(format!("{dead}-xyz"));
        fs::create_dir_all(&cgroup).unwrap();
        let bpffs = Bpffs::mount(temp.join("bpf"));
        let netns = format!("{dead}-node");
        command::must(std::process::Command::new("ip").args(["netns", "add", &netns]), "");
        let removed = sweep(&dead);
        assert_eq!(removed.len(), 4, "{removed:?}");
        for path in [cgroup, temp, Path::new("/run/netns").join(&netns)] {
            assert!(!path.exists(), "{}", path.display());
        }
        assert!(!is_mounted(bpffs.path()));
        assert!(network.node().netns().exists(), "its owner lives");
    }

    fn is_mounted(path: &Path) -> bool {
        mounts::table().iter().any(|mount| mount.point == path)
    }
}
