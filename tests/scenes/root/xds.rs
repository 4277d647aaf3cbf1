//! Daemons that listen to a control plane: kmesh-control as a user runs it, and one that says
//! whatever a scene wants.

mod control;
mod fake;
mod resources;
mod stream;
mod waypoints;
