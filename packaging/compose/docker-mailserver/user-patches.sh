#!/bin/bash
# Ports that read a header, beside the usual ones (10025 is Amavis's already). docker-mailserver runs this at each start.
postconf -Mf smtp/inet | sed 's/^smtp/12525/' >>/etc/postfix/master.cf
postconf -P 12525/inet/postscreen_upstream_proxy_protocol=haproxy \
    12525/inet/postscreen_cache_map=proxy:btree:\$data_directory/postscreen_12525_cache \
    12525/inet/syslog_name=postfix/smtpd-behind-truepeer
postconf -Mf submissions/inet | sed 's/^submissions/10465/' >>/etc/postfix/master.cf
postconf -P 10465/inet/smtpd_upstream_proxy_protocol=haproxy 10465/inet/syslog_name=postfix/submissions-behind-truepeer
