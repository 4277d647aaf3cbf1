//! From a pod to a ClusterIP: through the mesh, through kube-proxy in nftables mode, and to the pod's own
//! address without either, interleaved.

use std::net::SocketAddr;

use cluster::app::Request;
use cluster::image::IMAGE;
use cluster::{KubeProxy, NODE_LABEL};
use e2e::pod::Pod;
use e2e::world::{PATIENCE, World};
use testkit::{table, wait_until};

use crate::Arguments;

/// Where the server is, and a client for each way.
const NAMESPACE: &str = "bench";
const PORT: u16 = 80;

/// A way from a pod to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the pod's address, from outside of the mesh.
    Direct,
    /// To the cluster IP, through us.
    Mesh,
    /// To the cluster IP, through kube-proxy's rules, from outside of the mesh.
    KubeProxy,
}

impl Way {
    const ALL: [Self; 3] = [Self::Direct, Self::Mesh, Self::KubeProxy];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Mesh => "kmesh",
            Self::KubeProxy => "kube-proxy",
        }
    }
}

/// Prints the ratios, and returns whether they hold.
pub fn run(world: &World, arguments: &Arguments) -> bool {
    let bench = Bench::set_up(world);
    let Arguments { rounds, duration_ms, threads, .. } = arguments;
    println!(
        "\npod to one nginx on the same node, {rounds} rounds of {duration_ms} ms, {threads} clients; \
         conntrack forgets connections that ended after 2 s"
    );
    let mut good = true;
    for (what, connects, bound) in [("requests/s", false, 0.98), ("connects/s", true, 0.95)] {
        good &= judge(what, bound, &bench.measure(arguments, connects));
    }
    good
}

/// Prints the ratios, and returns whether they hold.
fn judge(what: &str, bound: f64, rates: &[(Way, f64)]) -> bool {
    let [direct, mesh, proxy] = Way::ALL.map(|way| median(rates, way));
    let row = |(way, rate): (Way, f64)| {
        [way.name().to_owned(), format!("{rate:.0}"), format!("{:.3}", rate / direct)]
    };
    let rows: Vec<_> = Way::ALL.into_iter().zip([direct, mesh, proxy]).map(row).collect();
    println!("{}", table([what, "median", "of direct"], &rows));
    let holds = mesh / direct >= bound && mesh >= proxy;
    println!(
        "{} {what}: {:.3} of direct (bound {bound}), {:.3} of kube-proxy (bound 1)\n",
        if holds { "ok    " } else { "MISSED" },
        mesh / direct,
        mesh / proxy
    );
    holds
}

struct Bench {
    inside: Pod,
    outside: Pod,
    /// Of its own: conntrack takes a connection to the pod for one to the cluster IP that it knows from the
    /// same client and port, and drops it.
    proxied: Pod,
    cluster_ip: SocketAddr,
    direct: SocketAddr,
    /// They are there all the time, as in a cluster that has both.
    _proxies: Vec<KubeProxy>,
}

impl Bench {
    fn set_up(world: &World) -> Self {
        let cluster = world.cluster.as_ref().expect("a cluster of our own");
        let node = &cluster.nodes[0];
        world.kubectl().apply(&objects());
        let server = world.pod(NAMESPACE, "server");
        let [inside, outside, proxied] =
            ["inside", "outside", "proxied"].map(|name| world.pod(NAMESPACE, name));
        world.mesh.wait_enrolled(&inside);
        let service = world.service(NAMESPACE, "server");
        let ip = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
        let cluster_ip = SocketAddr::new(ip, PORT);
        let direct = SocketAddr::new(server.address(false), PORT);
        let bench = Self { inside, outside, proxied, cluster_ip, direct, _proxies: Vec::new() };
        reach(&bench.inside, cluster_ip);
        let proxies = cluster.start_kube_proxy();
        reach(&bench.proxied, cluster_ip);
        node.run(|| {
            for state in ["time_wait", "close"] {
                let path = format!("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{state}");
                std::fs::write(&path, "2").unwrap_or_else(|e| panic!("write {path}: {e}"));
            }
        });
        Self { _proxies: proxies, ..bench }
    }

    /// (way, rate of each second) of all rounds.
    fn measure(&self, arguments: &Arguments, connects: bool) -> Vec<(Way, f64)> {
        let mut rates = Vec::new();
        for round in 0..arguments.rounds as usize {
            // Another order each time: what comes first is not always the same.
            for index in 0..Way::ALL.len() {
                let way = Way::ALL[(index + round) % Way::ALL.len()];
                rates.push((way, self.measure_one(way, arguments, connects)));
            }
        }
        rates
    }

    fn measure_one(&self, way: Way, arguments: &Arguments, connects: bool) -> f64 {
        let (client, to) = match way {
            Way::Direct => (&self.outside, self.direct),
            Way::Mesh => (&self.inside, self.cluster_ip),
            Way::KubeProxy => (&self.proxied, self.cluster_ip),
        };
        reach(client, to);
        let Arguments { threads, duration_ms, .. } = *arguments;
        let (done, failed) =
            client.tell(&Request::Measure { to, connects, threads, duration_ms }).measured;
        assert_eq!(failed, 0, "{} to {to}: of {}", way.name(), done + failed);
        done as f64 / (duration_ms as f64 / 1000.0)
    }
}

/// Waits until there is an answer.
fn reach(client: &Pod, to: SocketAddr) {
    let request = Request::Measure { to, connects: true, threads: 1, duration_ms: 10 };
    wait_until(&format!("{} to reach {to}", client.name), PATIENCE, || {
        let (done, failed) = client.try_tell(&request)?.measured;
        if done > 0 && failed == 0 { Ok(()) } else { Err(format!("{failed} failed")) }
    });
}

fn median(rates: &[(Way, f64)], way: Way) -> f64 {
    let mut own: Vec<f64> = rates.iter().filter(|one| one.0 == way).map(|one| one.1).collect();
    own.sort_by(f64::total_cmp);
    own[own.len() / 2]
}

fn client(name: &str, label: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {NAMESPACE}, labels: {{istio.io/dataplane-mode: {label}}}}}
spec:
  nodeSelector: {{{NODE_LABEL}: '1'}}
  containers:
  - {{name: app, image: '{IMAGE}', imagePullPolicy: Never, args: [serve],
     readinessProbe: {{httpGet: {{port: 8081}}, periodSeconds: 1}}}}
"
    )
}

/// Only one of the clients is in the mesh.
fn objects() -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: nginx, namespace: {NAMESPACE}}}
data:
  nginx.conf: |
{NGINX}
---
apiVersion: v1
kind: Pod
metadata: {{name: server, namespace: {NAMESPACE}, labels: {{app: server}}}}
spec:
  nodeSelector: {{{NODE_LABEL}: '1'}}
  containers:
  - name: nginx
    image: {IMAGE}
    imagePullPolicy: Never
    command: [/usr/sbin/nginx, -c, /config/nginx.conf, -e, /tmp/error.log]
    readinessProbe: {{httpGet: {{port: {PORT}}}, periodSeconds: 1}}
    volumeMounts: [{{name: config, mountPath: /config}}]
  volumes: [{{name: config, configMap: {{name: nginx}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: {NAMESPACE}}}
spec:
  selector: {{app: server}}
  ports: [{{name: http, port: {PORT}}}]
{}{}{}",
        client("inside", "Kmesh"),
        client("outside", "none"),
        client("proxied", "none")
    )
}

const NGINX: &str = "    user root;
    worker_processes 1;
    daemon off;
    pid /tmp/nginx.pid;
    error_log /tmp/error.log;
    events { worker_connections 8192; }
    http {
      access_log off;
      keepalive_requests 1000000000;
      client_body_temp_path /tmp/body;
      proxy_temp_path /tmp/proxy;
      fastcgi_temp_path /tmp/fastcgi;
      uwsgi_temp_path /tmp/uwsgi;
      scgi_temp_path /tmp/scgi;
      server {
        listen 0.0.0.0:80 backlog=4096;
        listen [::]:80 ipv6only=on backlog=4096;
        location / { return 200 \"ok\\n\"; }
      }
    }";
