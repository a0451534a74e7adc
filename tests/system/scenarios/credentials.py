# SPDX-License-Identifier: Apache-2.0
"""Keys that systemd hands out: every kind of credential, as the manual shows them."""

from machine import (
    AGENT,
    COLLECTOR,
    CONFIGURATION,
    IMPORT_SINCE_SYSTEMD,
    key_pair,
    public_certificate,
    systemd_version,
)

# It depends on the release's own programs: systemd, dpkg, what they confine.
EVERYWHERE = True


def agents_key_from_the_credstore(m):
    """/etc/credstore/metrics-agent.key_secret: nothing to set, as the unit asks for it."""
    public, certificate = key_pair(m)
    m.write("/etc/credstore/metrics-agent.key_secret", certificate, mode=0o600)
    _expect_agents_key(m, public)


def agents_key_from_a_path(m):
    """LoadCredential= with a path of the site's own goes over the unit's."""
    public, certificate = key_pair(m)
    m.write("/root/site.key", certificate, mode=0o600)
    m.drop_in("[Service]\nLoadCredential=agent.key_secret:/root/site.key\n")
    _expect_agents_key(m, public)


def agents_key_encrypted(m):
    """LoadCredentialEncrypted=: the key is nowhere in the clear on the disk."""
    public, certificate = key_pair(m)
    _encrypt(m, certificate, "agent.key_secret", "/etc/metrics-agent/agent.cred")
    m.drop_in(
        "[Service]\nLoadCredentialEncrypted=agent.key_secret:/etc/metrics-agent/agent.cred\n"
    )
    _expect_agents_key(m, public)


def agents_key_encrypted_under_another_name(m):
    """A credential that was encrypted for something else is refused by systemd; no key is made."""
    _, certificate = key_pair(m)
    _encrypt(m, certificate, "other", "/etc/metrics-agent/agent.cred")
    m.drop_in(
        "[Service]\nLoadCredentialEncrypted=agent.key_secret:/etc/metrics-agent/agent.cred\n"
    )
    m.expect_refused("start", "systemctl", "start", AGENT)
    # EXIT_CREDENTIALS, systemd.exec(5).
    m.expect("exit status", m.unit("ExecMainStatus"), "243")
    m.expect("keys that were made", m.events("KEY_GENERATED"), [])


def agents_key_imported(m):
    """ImportCredential=: whatever the site has under that name, encrypted or not."""
    if systemd_version(m) < IMPORT_SINCE_SYSTEMD:
        m.saw(f"left out: systemd {systemd_version(m)} knows no ImportCredential=")
        return
    public, certificate = key_pair(m)
    _encrypt(m, certificate, "agent.key_secret", "/etc/credstore.encrypted/agent.key_secret")
    m.drop_in("[Service]\nImportCredential=agent.*\n")
    _expect_agents_key(m, public)


def collectors_keys_all_handed_out(m):
    """Three credentials, two services, no key in any setting: they find each other."""
    public, certificate = key_pair(m)
    _encrypt(m, certificate, "collector.key_secret", "/etc/collector.cred")
    m.drop_in(
        "[Service]\nLoadCredentialEncrypted=collector.key_secret:/etc/collector.cred\n", COLLECTOR
    )
    own_public, own_certificate = key_pair(m)
    m.write("/etc/credstore/metrics-agent.key_secret", own_certificate, mode=0o600)
    m.write("/etc/credstore/metrics-agent.collector.key", public_certificate(public))
    m.write(CONFIGURATION, '[collector.main]\nendpoint = "tcp://127.0.0.1:5556"\n')
    m.run("systemctl", "start", COLLECTOR, AGENT)
    m.eventually("state", lambda: m.agent("State"), "reporting")
    m.expect("the agent's key", m.agent("PublicKey"), own_public)
    m.expect("the collector's key", m.connection("CollectorKey"), public)
    m.expect("the collector's own word", m.event("COLLECTOR_READY", COLLECTOR)["PUBLIC_KEY"], public)
    for unit, made in ((AGENT, "KEY_GENERATED"), (COLLECTOR, "COLLECTOR_KEY_GENERATED")):
        m.expect(f"keys that {unit} made", m.events(made, unit), [])
    shown = m.run("ls", "/var/lib/metrics-collector", "/var/lib/metrics-agent")
    m.expect("certificates in the state directories", ".key" in shown, False)


def collectors_public_key_inline(m):
    """SetCredential=: a public key is no secret, so a drop-in may hold it."""
    key = m.start_collector()
    text = public_certificate(key).replace("\\", "\\\\").replace("\n", "\\n")
    m.drop_in(f"[Service]\nLoadCredential=\nSetCredential=collector.key:{text}\n")
    m.write(CONFIGURATION, '[collector.main]\nendpoint = "tcp://127.0.0.1:5556"\n')
    m.run("systemctl", "start", AGENT)
    m.eventually("state", lambda: m.agent("State"), "reporting")
    m.expect("the collector's key", m.connection("CollectorKey"), key)


def _expect_agents_key(m, public):
    m.run("systemctl", "start", AGENT)
    pid = m.main_pid()
    m.expect("public key", m.agent("PublicKey"), public)
    m.expect("keys that were made", m.events("KEY_GENERATED"), [])
    path = "/run/credentials/metrics-agent.service/agent.key_secret"
    m.saw("credential: " + m.run("stat", "-c", "mode %a of %U:%G", path))
    # Reload reads it once more, as the service's user.
    m.run("systemctl", "reload", AGENT)
    m.expect("public key after a reload", m.agent("PublicKey"), public)
    m.expect_steady(pid)


def _encrypt(m, text, name, path):
    """What an administrator types: systemd-creds(1). With the host's key; there is no TPM here."""
    m.write("/run/plain", text, mode=0o600)
    m.run("mkdir", "-p", path.rpartition("/")[0])
    m.run("systemd-creds", "encrypt", "--with-key=host", f"--name={name}", "/run/plain", path)
    m.run("rm", "/run/plain")
    m.expect("in the clear on the disk", "secret-key" in m.read(path), False)
