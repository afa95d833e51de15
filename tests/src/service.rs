//! arfw as a service: what it tells its manager, and what it may do once it runs.

mod confinement;
mod journal;
mod notices;
mod unit;

const CONF: &str = "\
<ossec_config>
  <command>
    <name>drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <command>
    <name>own</name>
    <executable>own.sh</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>drop</command>
    <location>local</location>
    <rules_id>5763</rules_id>
    <timeout>600</timeout>
  </active-response>
  <active-response>
    <command>own</command>
    <location>local</location>
    <rules_id>5712</rules_id>
    <timeout>600</timeout>
  </active-response>
</ossec_config>
";
