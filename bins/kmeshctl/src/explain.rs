//! `kmeshctl explain`: what would happen to a connection, station by station.

use runtime::api::{ExplainRequest, Explanation};
use runtime::client::AdminClient;

use crate::table;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who dials: NAMESPACE/NAME of a workload, the path of its network namespace, or its cookie
    pod: String,
    /// Where to: ADDRESS:PORT or HOST:PORT
    destination: String,
    /// Transport
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "udp"])]
    protocol: String,
    /// How to print it
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    output: String,
}

/// Runs `explain`.
pub async fn run(client: &AdminClient, args: Args) -> anyhow::Result<String> {
    let request = ExplainRequest { from: args.pod, to: args.destination, protocol: args.protocol };
    let explanation = client.explain(&request).await?;
    if args.output == "json" {
        return Ok(serde_json::to_string_pretty(&explanation)? + "\n");
    }
    Ok(render(&explanation))
}

fn render(explanation: &Explanation) -> String {
    let rows = explanation.stations.iter().enumerate().map(|(number, station)| {
        let number = (number + 1).to_string();
        [number, station.name.clone(), station.asked.clone(), station.found.clone()]
    });
    let table = table::render(["#", "STATION", "ASKED", "FOUND"], rows);
    format!("{}\n\n{table}\n{}\n", explanation.question, explanation.verdict)
}

#[cfg(test)]
mod tests {
    use runtime::api::Station;

    use super::*;

    #[test]
    fn stations_are_numbered_between_the_question_and_the_verdict() {
        let explanation = Explanation {
            question: "shop/cart dials 10.96.0.1:80".into(),
            stations: vec![Station {
                name: "enrolment".into(),
                asked: "enrolments[7]".into(),
                found: "in the mesh".into(),
            }],
            verdict: "passed".into(),
        };
        let expected = "shop/cart dials 10.96.0.1:80\n\n\
            #   STATION     ASKED           FOUND\n\
            1   enrolment   enrolments[7]   in the mesh\n\npassed\n";
        assert_eq!(render(&explanation), expected);
    }
}
