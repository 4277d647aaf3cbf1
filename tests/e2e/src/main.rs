//! The product in a real Kubernetes under a real istiod.
#![forbid(unsafe_code)]
fn main() {
    let logs = std::env::args().nth(1).expect("logs").into();
    let mut c = cluster::Cluster::start(&cluster::Options { logs, istiod: true });
    c.kubectl().run(&["get", "nodes", "-o", "wide"]);
    println!("{}", c.kubectl().run(&["get", "nodes", "-o", "wide"]));
    let _ = c.istiod.as_mut();
    println!("press enter; pid {} {}", c.nodes[0].pid(), c.kubeconfig().display());
    let mut s = String::new();
    std::io::stdin().read_line(&mut s).expect("x");
}
