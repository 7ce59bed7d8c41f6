#!/bin/sh
# Says which firewalls run ("running NAME") and what of ours they hold ("rule TEXT").
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
if systemctl -q is-active firewalld.service; then
    echo running firewalld
    # A service with our prefix stands in a zone as it is, or in a rich rule with its sources
    firewall-cmd --permanent --list-services | tr ' ' '\n' | sed -n 's/^pyindex-/rule service pyindex-/p'
    firewall-cmd --permanent --list-rich-rules | sed -n '/"pyindex-/s/^/rule rich /p'
    firewall-cmd --permanent --list-ports | tr ' ' '\n' | sed -n 's/^[0-9]/rule port &/p'
fi
if grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf; then
    echo running ufw
    ufw show added | sed -n "s/^ufw \(.* comment 'pyindex-.*\)$/rule \1/p"
elif systemctl -q is-active nftables.service && ! systemctl -q is-active firewalld.service; then
    echo running nftables
    # Word for word what was loaded: a rule that somebody has flushed since is missed
    if { nft -s list table inet pyindex 2>/dev/null; nft -s list ruleset | sed -n '/comment "pyindex-/p'; } |
        cmp -s - /var/lib/pyindex/firewall/loaded; then
        echo rule loaded
    fi
    if systemctl -q is-enabled nftables.service &&
        grep -qs '^include "/etc/nftables.pyindex"$' /etc/nftables.conf /etc/sysconfig/nftables.conf; then
        echo rule at boot
    fi
    # Chains of others that drop what they do not know
    nft list ruleset | awk '/^table/ {t = $2 " " $3} /chain/ {c = $2} /hook input/ && /policy drop/ {print "drops", t, c}'
fi
