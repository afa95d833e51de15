//! The managers that an agent's `<client>` names, so that the lock-out guard can spare them (AR-OFF-5).
//!
//! Never a cause for a diagnostic: apart from the addresses, these elements are not ours (AR-CFG-2).

use super::raw::Element;
use crate::offender::Offender;

/// The literal addresses: Wazuh's `server`/`address`, and OSSEC's `server-ip`, each in document order.
pub(super) fn read(clients: &[Element]) -> Vec<Offender> {
    let named = |element: &Element, name: &str| element.name == name;
    let servers = clients.iter().flat_map(|client| &client.children);
    let addresses = servers.flat_map(|child| {
        let inner = child.children.iter().filter(|_| named(child, "server"));
        inner
            .filter(|grandchild| named(grandchild, "address"))
            .chain(Some(child).filter(|child| named(child, "server-ip")))
    });
    let mut managers = Vec::new();
    for address in addresses {
        let manager = address.value.trimmed().text().parse().ok();
        managers.extend(manager.filter(|manager| !managers.contains(manager)));
    }
    managers
}

#[cfg(test)]
mod tests {
    use crate::config::read;

    fn check(client: &str, expected: &[&str]) {
        let text = format!("<ossec_config><client>{client}</client></ossec_config>");
        let reading = read(&text);
        assert_eq!(reading.diagnostics, [], "{client}");
        let managers = reading.config.unwrap_or_default().managers;
        let managers: Vec<String> = managers.iter().map(ToString::to_string).collect();
        assert_eq!(managers, expected, "{client}");
    }

    /// AR-OFF-5
    #[test]
    fn managers_are_the_literal_addresses_of_servers() {
        let server = |address: &str| format!("<server><address>{address}</address></server>");
        check(
            &(server(" 192.0.2.7\n") + &server("2001:DB8::7") + &server("::ffff:192.0.2.7")),
            &["192.0.2.7", "2001:db8::7"],
        );
        check("<server-ip>192.0.2.8</server-ip>", &["192.0.2.8"]);
        check(
            "<server><address><!-- x -->192.0.2.9</address><port>1514</port></server>",
            &["192.0.2.9"],
        );
    }

    /// AR-CFG-2
    #[test]
    fn what_else_a_client_has_is_not_looked_at() {
        let server = "<server><address>manager.example</address><address/></server>";
        check(server, &[]);
        check(
            "<server-hostname>manager.example</server-hostname><address>192.0.2.7</address>",
            &[],
        );
        check(
            "<enrollment><manager_address>192.0.2.7</manager_address></enrollment>",
            &[],
        );
        check(
            "<x><command>y</command><server><address>192.0.2.7</address></server></x>",
            &[],
        );
    }
}
