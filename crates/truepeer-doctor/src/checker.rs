//! Programs that check whether a server is there, by what they call themselves in HTTP.
//!
//! Data: a part of the `User-Agent` field and whose it is. Asked of requests that came where a header was due.

/// Whose health check `request`, the beginning of an HTTP/1 request, is; `None` if it does not say so.
#[must_use]
pub fn of(request: &[u8]) -> Option<&'static str> {
    let agent = user_agent(request)?;
    let is_part =
        |part: &str| agent.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()));
    CHECKERS.iter().find(|(part, _)| is_part(part)).map(|(_, who)| *who)
}

/// A part of the field, and who sends it.
const CHECKERS: &[(&str, &str)] = &[
    ("ELB-HealthChecker", "AWS Elastic Load Balancing"),
    ("Amazon-Route53-Health-Check", "AWS Route 53"),
    ("GoogleHC", "Google Cloud Load Balancing"),
    ("GoogleStackdriverMonitoring", "Google Cloud Monitoring"),
    ("Load Balancer Agent", "Azure Load Balancer"),
    ("Edge Health Probe", "Azure Front Door"),
    ("kube-probe", "Kubernetes"),
    ("Envoy/HC", "Envoy"),
    ("Consul Health Check", "Consul"),
    ("Cloudflare-Healthchecks", "Cloudflare"),
    ("Cloudflare-Traffic-Manager", "Cloudflare"),
    ("check_http", "the monitoring plugins of Nagios and Icinga"),
    ("check_curl", "the monitoring plugins of Nagios and Icinga"),
    ("Blackbox", "Prometheus' blackbox exporter"),
    ("Uptime-Kuma", "Uptime Kuma"),
    ("UptimeRobot", "UptimeRobot"),
    ("Better Uptime", "Better Stack"),
    ("Better Stack", "Better Stack"),
    ("Pingdom", "Pingdom"),
    ("StatusCake", "StatusCake"),
    ("Site24x7", "Site24x7"),
    ("Zabbix", "Zabbix"),
    ("Datadog", "Datadog"),
    ("Checkly", "Checkly"),
];

/// The value of the field; cut where the bytes end.
fn user_agent(request: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"user-agent:";
    let mut lines = request.split(|byte| *byte == b'\n').skip(1);
    let line =
        lines.find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    line.get(NAME.len()..).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_known_by_its_agent_and_a_browser_is_none() {
        for (request, who) in [
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n",
                Some("AWS Elastic Load Balancing"),
            ),
            ("GET /healthz HTTP/1.1\r\nuser-agent:kube-probe/1.29\r\n", Some("Kubernetes")),
            (
                "GET / HTTP/1.0\r\nUser-Agent: check_http/v2.3.1 (monitoring-plugins 2.3.1)\r\n",
                Some("the monitoring plugins of Nagios and Icinga"),
            ),
            ("GET / HTTP/1.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n", None),
            ("GET / HTTP/1.1\r\nX: User-Agent: kube-probe\r\n", None),
            ("GET /User-Agent:kube-probe HTTP/1.1\r\n", None),
            ("GET / HTTP/1.1", None),
        ] {
            assert_eq!(of(request.as_bytes()), who, "{request}");
        }
    }
}
