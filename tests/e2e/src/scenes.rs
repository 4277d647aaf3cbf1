//! All scenes, in the order in which they run.

mod services;

use crate::world::World;

/// One scene.
pub struct Scene {
    /// The file that it is in.
    group: &'static str,
    /// What must hold, as the name of its function.
    sentence: &'static str,
    /// Whether it reaches into a node or stops a part of the cluster.
    pub needs_nodes: bool,
    /// It panics where something does not hold.
    pub run: fn(&mut World),
}

impl Scene {
    /// `group::sentence`.
    pub fn name(&self) -> String {
        format!("{}::{}", self.group, self.sentence)
    }
}

/// Scenes of one file. Those behind the bar need access to the nodes.
macro_rules! scenes {
    ($group:ident: $($name:ident),* $(,)? | $($inside:ident),* $(,)?) => {
        vec![
            $(Scene {
                group: stringify!($group),
                sentence: stringify!($name),
                needs_nodes: false,
                run: $group::$name,
            },)*
            $(Scene {
                group: stringify!($group),
                sentence: stringify!($inside),
                needs_nodes: true,
                run: $group::$inside,
            },)*
        ]
    };
}

/// In order.
pub fn all() -> Vec<Scene> {
    let groups = [scenes!(services:
        a_cluster_ip_reaches_every_pod_of_both_nodes_in_both_families,
        a_pod_is_reached_by_its_own_address,
        a_headless_service_is_its_pods,
        an_external_name_is_what_it_stands_for,
        datagrams_reach_a_cluster_ip,
        the_client_sees_the_address_that_it_dialled_and_the_server_the_client,
        another_namespace_is_reached_by_its_full_name,
        a_pod_outside_of_the_mesh_reaches_no_cluster_ip,
        |
        a_node_port_is_reached_on_every_node,
    )];
    groups.into_iter().flatten().collect()
}
