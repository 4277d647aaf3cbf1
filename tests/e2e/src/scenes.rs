//! All scenes, in the order in which they run.

mod authz;
mod churn;
mod control_plane;
mod entries;
mod labels;
mod lifecycle;
mod names;
mod probes;
mod services;
mod telemetry;
mod waypoints;

use e2e::world::World;

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
    let groups = [
        scenes!(services:
            a_cluster_ip_reaches_every_pod_of_both_nodes_in_both_families,
            a_pod_is_reached_by_its_own_address,
            a_headless_service_is_its_pods,
            datagrams_reach_a_cluster_ip,
            the_client_sees_the_address_that_it_dialled_and_the_server_the_client,
            another_namespace_is_reached_by_its_full_name,
            a_pod_outside_of_the_mesh_reaches_no_cluster_ip,
            |
        ),
        scenes!(names:
            every_form_of_a_services_name_is_known,
            a_name_that_nobody_knows_is_not_found,
            |
            an_external_name_is_what_the_clusters_dns_says,
            names_are_known_without_the_clusters_dns,
        ),
        scenes!(entries:
            a_host_without_addresses_is_given_one_and_is_reached_by_name,
            inlined_endpoints_of_both_families_are_reached,
            workload_entries_are_selected,
            an_entry_that_is_removed_is_refused_or_unknown,
            |
            an_endpoint_is_looked_up_by_its_name,
        ),
        scenes!(labels:
            |
            a_pod_is_enrolled_before_its_first_container_starts,
            a_label_of_a_pod_takes_it_in_and_lets_it_go_under_load,
            a_pod_that_says_none_is_left_alone_and_comes_back,
            a_label_of_a_namespace_takes_in_its_running_pods,
            a_pod_of_the_hosts_network_is_not_enrolled,
        ),
        scenes!(lifecycle:
            a_rollout_loses_no_connection,
            scaling_up_and_down_loses_no_connection,
            a_restart_of_the_daemons_loses_no_connection,
            |
            a_killed_daemon_loses_no_connection,
        ),
        scenes!(probes:
            kubelet_probes_of_enrolled_pods_pass,
            |
        ),
        scenes!(churn:
            |
            an_address_that_another_pod_got_is_never_the_old_service,
        ),
        scenes!(telemetry: | connections_and_bytes_are_counted),
        scenes!(waypoints:
            |
            a_waypoint_of_a_service_comes_and_goes_under_load,
            a_waypoint_of_a_service_wins_over_that_of_its_namespace,
            a_waypoint_of_a_pod_comes_and_goes,
            a_client_that_waits_for_the_server_gets_through,
            without_its_waypoint_a_service_is_refused_and_never_reached_past_it,
        ),
        scenes!(authz:
            |
            policies_of_istiod_decide_at_the_syn_on_both_nodes,
            connections_that_a_policy_refuses_are_reset_and_others_go_on,
        ),
        scenes!(control_plane:
            |
            connections_go_on_without_the_api_server,
            connections_go_on_without_istiod_and_changes_come_afterwards,
        ),
    ];
    groups.into_iter().flatten().collect()
}
