# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_truepeer_global_optspecs
    string join \n h/help V/version
end

function __fish_truepeer_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_truepeer_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_truepeer_using_subcommand
    set -l cmd (__fish_truepeer_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c truepeer -n "__fish_truepeer_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_needs_command" -s V -l version -d 'Print version'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "run" -d 'Serve: accept, identify, hand over, until SIGTERM'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "demo" -d 'Show what happens to a connection, step by step, with proxy and backend built in'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "doctor" -d 'Say what is wrong between the proxies and servers on this machine, and what line to change'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "check" -d 'Read the configuration as `run` would, and those of its neighbours, and say what does not fit'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "init" -d 'Write a first configuration for this machine, and say what to change beside it'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "import" -d 'Make a configuration of truepeer from another program\'s'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "send" -d 'Connect with any header, then pass standard input on, or greet in a protocol and quit'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "explain" -d 'Explain a header and which servers accept it, or what a log line means'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "watch" -d 'Listen in place of a server, and show what a proxy really sends'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "probe" -d 'Test how a server reacts to each kind of header'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "snippet" -d 'Print configuration lines for proxies and for this host, to copy'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "connections" -d 'List the connections that are open in a running front door'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "status" -d 'Show the state of a running front door: listeners, backends and their proofs, unfinished headers'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "top" -d 'Look at a running front door in a terminal: who is connected, who is refused and why, live'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "deny" -d 'Keep a client out for a while: at once, without a reload'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "undeny" -d 'Let a denied client in again'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "upgrade" -d 'Let a new program take the place of the running one, without losing a connection'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "reload" -d 'Make a running front door read its configuration again, as SIGHUP does, and say how that went'
complete -c truepeer -n "__fish_truepeer_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c truepeer -n "__fish_truepeer_using_subcommand run" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand doctor" -l since -d 'How far back logs are read; `0s` reads none' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand doctor" -l root -d 'Look at a folder that was recorded from a machine' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand doctor" -l no-probe -d 'Ask no server anything; configurations and logs are read all the same'
complete -c truepeer -n "__fish_truepeer_using_subcommand doctor" -l json -d 'Answer in JSON, one finding a line (docs/json.md); what was not seen goes to standard error'
complete -c truepeer -n "__fish_truepeer_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand check" -l config -d 'The configuration file, as other commands take it' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand check" -l neighbour -d 'Read the other side, too, and say what does not fit; may be given several times' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand check" -l explain -d 'Explain one key instead, such as `server.proxy.unlisted`' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand check" -l explain-ip -d 'Say what would happen to this address instead, as a peer and as a client, and which line says so' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand check" -l listener -d 'At this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand check" -l json -d 'Print findings and advice as JSON, one object a line'
complete -c truepeer -n "__fish_truepeer_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand init" -l config -d 'Where the configuration is written' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand init" -l answers -d 'Ask nothing: take this file\'s answers, and what was found where it says nothing' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand init" -l root -d 'Look at this folder as if it were the root of the machine' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand init" -l yes -d 'Ask nothing: take what was found on this machine'
complete -c truepeer -n "__fish_truepeer_using_subcommand init" -l dry-run -d 'Write nothing: show the difference to the file that is there'
complete -c truepeer -n "__fish_truepeer_using_subcommand init" -l json -d 'Answer in JSON, one object with `config` and `steps`'
complete -c truepeer -n "__fish_truepeer_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand import; and not __fish_seen_subcommand_from stalwart help" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand import; and not __fish_seen_subcommand_from stalwart help" -f -a "stalwart" -d 'From a Stalwart mail server: its listeners, trusted networks, blocked and allowed addresses'
complete -c truepeer -n "__fish_truepeer_using_subcommand import; and not __fish_seen_subcommand_from stalwart help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c truepeer -n "__fish_truepeer_using_subcommand import; and __fish_seen_subcommand_from stalwart" -l behind -d 'The address at which Stalwart will listen, as truepeer reaches it' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand import; and __fish_seen_subcommand_from stalwart" -l keep-ports -d 'Stalwart keeps its ports, for that address is another machine\'s or a container\'s'
complete -c truepeer -n "__fish_truepeer_using_subcommand import; and __fish_seen_subcommand_from stalwart" -l json -d 'Answer in JSON: one object with `config`, `notes` and `stalwart`'
complete -c truepeer -n "__fish_truepeer_using_subcommand import; and __fish_seen_subcommand_from stalwart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand import; and __fish_seen_subcommand_from help" -f -a "stalwart" -d 'From a Stalwart mail server: its listeners, trusted networks, blocked and allowed addresses'
complete -c truepeer -n "__fish_truepeer_using_subcommand import; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l version -d 'Which header is sent' -r -f -a "v1\t''
v2\t''
none\t''"
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l client -d 'The client that the header names' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l destination -d 'The address that this client connected to' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l tlv -d 'One more item of a version 2 header, repeatable' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l raw -d 'Send these bytes instead, in hexadecimal, whatever they are' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l split -d 'Cut the header before these bytes, and send it in pieces' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l pause -d 'How long to wait between two pieces' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l server-name -d 'The name that TLS asks for, if not the host\'s' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l protocol -d 'Greet in this protocol and quit, instead of passing on standard input' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l source -d 'Connect from this address of this machine' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l timeout -d 'How long the server may take: for the connection, for TLS, for each answer, and to close once our input is over' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l local -d 'A version 2 header of the proxy\'s own (LOCAL), as health checks send'
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l unknown -d 'A version 1 line without a client (`PROXY UNKNOWN`)'
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l crc -d 'End a version 2 header with its CRC32C'
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l datagram -d 'A version 2 header that says UDP'
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l tls -d 'Speak TLS behind the header; certificates are not checked'
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -l json -d 'Answer in JSON, one object'
complete -c truepeer -n "__fish_truepeer_using_subcommand send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand explain" -l format -d 'How the header is written down' -r -f -a "auto\t'Whichever of the others it looks like'
hex\t'Digits in base 16, separated or not, or a dump as `xxd` or `hexdump -C` prints it'
base64\t'Base64, of either alphabet'
escaped\t'Text with escapes such as \\r, \\x0d, \\015'
raw\t'The bytes themselves'
pcap\t'A packet capture, pcap or pcapng'"
complete -c truepeer -n "__fish_truepeer_using_subcommand explain" -l log -d 'The input is a log, or an error text of another program'
complete -c truepeer -n "__fish_truepeer_using_subcommand explain" -l json -d 'Answer in JSON, one object a line (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand watch" -l listen -d 'Where to listen' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand watch" -l as -d 'Greet and answer as a server of this protocol does' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand watch" -l config -d 'Say for each peer whether this configuration would read its header' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand watch" -l listener -d 'At this listener of it only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand watch" -l count -d 'End after so many connections' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand watch" -l for -d 'End after so long' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand watch" -l wait -d 'After how much silence to greet or give up' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand watch" -l json -d 'Answer in JSON, one object for each connection'
complete -c truepeer -n "__fish_truepeer_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand probe" -l protocol -d 'Its protocol, if the port does not show it' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand probe" -l source -d 'Ask from this address of this machine' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand probe" -l timeout -d 'How long each answer may take' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand probe" -l wait -d 'How long to listen on the connection without a header' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand probe" -l tls -d 'It speaks TLS from the first byte behind the header, as on 465, 993 and 995'
complete -c truepeer -n "__fish_truepeer_using_subcommand probe" -l expect-closed -d 'This address should not be trusted: fail if a header is believed from it'
complete -c truepeer -n "__fish_truepeer_using_subcommand probe" -l dry-run -d 'List what would be sent, and send nothing'
complete -c truepeer -n "__fish_truepeer_using_subcommand probe" -l json -d 'Answer in JSON, one object for each question, and one for what they prove'
complete -c truepeer -n "__fish_truepeer_using_subcommand probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "haproxy" -d 'HAProxy\'s lines for this configuration: a frontend and a backend for each listener'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "nginx" -d 'NGINX in front: the stream section for this configuration (version 1 only); with `--backend`, NGINX behind'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "traefik" -d 'Traefik\'s dynamic file for this configuration, its entry points in a comment'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "envoy" -d 'Envoy\'s static resources for this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "caddy" -d 'Caddy\'s site for each http listener; stock Caddy cannot carry mail'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "postfix" -d 'Postfix\' services for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "dovecot" -d 'Dovecot\'s listeners and list of proxies for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "exim" -d 'Exim\'s ports and list of proxies for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "stalwart" -d 'Stalwart\'s listeners for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "firewall" -d 'Rules of nftables by which nobody but truepeer reaches the backends'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "transparent" -d 'What this host needs for `handoff = "transparent"`: the commands, and the same for systemd-networkd'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and not __fish_seen_subcommand_from haproxy nginx traefik envoy caddy postfix dovecot exim stalwart firewall transparent help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from haproxy" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from haproxy" -l listener -d 'For this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from haproxy" -l to -d 'The address at which the proxy reaches truepeer; needed where a listener is bound to all of them' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from haproxy" -l front -d 'Where the proxy listens' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from haproxy" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from haproxy" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from nginx" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from nginx" -l listener -d 'For this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from nginx" -l to -d 'The address at which the proxy reaches truepeer; needed where a listener is bound to all of them' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from nginx" -l front -d 'Where the proxy listens' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from nginx" -l backend -d 'For NGINX as this backend, behind truepeer' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from nginx" -l from -d 'The address from which truepeer connects to it' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from nginx" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from nginx" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from traefik" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from traefik" -l listener -d 'For this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from traefik" -l to -d 'The address at which the proxy reaches truepeer; needed where a listener is bound to all of them' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from traefik" -l front -d 'Where the proxy listens' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from traefik" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from traefik" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from envoy" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from envoy" -l listener -d 'For this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from envoy" -l to -d 'The address at which the proxy reaches truepeer; needed where a listener is bound to all of them' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from envoy" -l front -d 'Where the proxy listens' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from envoy" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from envoy" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from caddy" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from caddy" -l listener -d 'For this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from caddy" -l to -d 'The address at which the proxy reaches truepeer; needed where a listener is bound to all of them' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from caddy" -l front -d 'Where the proxy listens' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from caddy" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from caddy" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from postfix" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from postfix" -l listener -d 'For the backend of this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from postfix" -l backend -d 'For this backend only, whatever its kind' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from postfix" -l from -d 'The address from which truepeer connects' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from postfix" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from postfix" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from dovecot" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from dovecot" -l listener -d 'For the backend of this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from dovecot" -l backend -d 'For this backend only, whatever its kind' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from dovecot" -l from -d 'The address from which truepeer connects' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from dovecot" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from dovecot" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from exim" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from exim" -l listener -d 'For the backend of this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from exim" -l backend -d 'For this backend only, whatever its kind' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from exim" -l from -d 'The address from which truepeer connects' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from exim" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from exim" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from stalwart" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from stalwart" -l listener -d 'For the backend of this listener only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from stalwart" -l backend -d 'For this backend only, whatever its kind' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from stalwart" -l from -d 'The address from which truepeer connects' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from stalwart" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from stalwart" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from firewall" -l config -d 'The configuration file' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from firewall" -l backend -d 'For this backend only' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from firewall" -l user -d 'The user that truepeer runs as' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from firewall" -l from -d 'The address from which truepeer connects to other machines' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from firewall" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from firewall" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from transparent" -l json -d 'Answer in JSON, one object (docs/json.md)'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from transparent" -s h -l help -d 'Print help'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "haproxy" -d 'HAProxy\'s lines for this configuration: a frontend and a backend for each listener'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "nginx" -d 'NGINX in front: the stream section for this configuration (version 1 only); with `--backend`, NGINX behind'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "traefik" -d 'Traefik\'s dynamic file for this configuration, its entry points in a comment'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "envoy" -d 'Envoy\'s static resources for this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "caddy" -d 'Caddy\'s site for each http listener; stock Caddy cannot carry mail'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "postfix" -d 'Postfix\' services for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "dovecot" -d 'Dovecot\'s listeners and list of proxies for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "exim" -d 'Exim\'s ports and list of proxies for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "stalwart" -d 'Stalwart\'s listeners for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "firewall" -d 'Rules of nftables by which nobody but truepeer reaches the backends'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "transparent" -d 'What this host needs for `handoff = "transparent"`: the commands, and the same for systemd-networkd'
complete -c truepeer -n "__fish_truepeer_using_subcommand snippet; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c truepeer -n "__fish_truepeer_using_subcommand connections" -l config -d 'The configuration file of the running server; its `[admin] socket` is used' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand connections" -l socket -d 'The server\'s admin socket; no configuration is read then' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand connections" -l client -d 'Only those of this client or network of clients' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand connections" -l peer -d 'Only those that came through this peer (a proxy, or the client itself) or network of peers' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand connections" -l listener -d 'Only those of this listener' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand connections" -l json -d 'Answer in JSON, one object a line'
complete -c truepeer -n "__fish_truepeer_using_subcommand connections" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand status" -l config -d 'The configuration file of the running server; its `[admin] socket` is used' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand status" -l socket -d 'The server\'s admin socket; no configuration is read then' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand status" -l json -d 'Answer in JSON, one object a line'
complete -c truepeer -n "__fish_truepeer_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand top" -l config -d 'The configuration file of the running server; its `[admin] socket` is used' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand top" -l socket -d 'The server\'s admin socket; no configuration is read then' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand top" -l every -d 'Seconds between two looks; where the server needs long to answer, they are longer' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand deny" -l config -d 'The configuration file of the running server; its `[admin] socket` is used' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand deny" -l socket -d 'The server\'s admin socket; no configuration is read then' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand deny" -l for -d 'How long: 90s, 10m, 1h, 7d, 1h30m; at most 365d' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand deny" -l reason -d 'Why, for the log and the list' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand deny" -l json -d 'Answer in JSON, one object a line'
complete -c truepeer -n "__fish_truepeer_using_subcommand deny" -l keep -d 'Let the client\'s open connections go on'
complete -c truepeer -n "__fish_truepeer_using_subcommand deny" -l list -d 'List who is denied instead'
complete -c truepeer -n "__fish_truepeer_using_subcommand deny" -l feed -d 'Take orders from standard input instead, one a line: `+ADDR|NETWORK TIME [REASON]` denies, `-ADDR|NETWORK` lets in again, `#` begins a comment'
complete -c truepeer -n "__fish_truepeer_using_subcommand deny" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand undeny" -l config -d 'The configuration file of the running server; its `[admin] socket` is used' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand undeny" -l socket -d 'The server\'s admin socket; no configuration is read then' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand undeny" -l json -d 'Answer in JSON, one object a line'
complete -c truepeer -n "__fish_truepeer_using_subcommand undeny" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand upgrade" -l config -d 'The configuration file of the running server; its `[admin] socket` is used' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand upgrade" -l socket -d 'The server\'s admin socket; no configuration is read then' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand upgrade" -l program -d 'The program; it must belong to root or to whom the running one belongs' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand upgrade" -l wait -d 'How many seconds it may take until it is ready' -r
complete -c truepeer -n "__fish_truepeer_using_subcommand upgrade" -l json -d 'Answer in JSON, one object a line'
complete -c truepeer -n "__fish_truepeer_using_subcommand upgrade" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand reload" -l config -d 'The configuration file of the running server; its `[admin] socket` is used' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand reload" -l socket -d 'The server\'s admin socket; no configuration is read then' -r -F
complete -c truepeer -n "__fish_truepeer_using_subcommand reload" -l json -d 'Answer in JSON, one object a line'
complete -c truepeer -n "__fish_truepeer_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "run" -d 'Serve: accept, identify, hand over, until SIGTERM'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "demo" -d 'Show what happens to a connection, step by step, with proxy and backend built in'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "doctor" -d 'Say what is wrong between the proxies and servers on this machine, and what line to change'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "check" -d 'Read the configuration as `run` would, and those of its neighbours, and say what does not fit'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "init" -d 'Write a first configuration for this machine, and say what to change beside it'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "import" -d 'Make a configuration of truepeer from another program\'s'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "send" -d 'Connect with any header, then pass standard input on, or greet in a protocol and quit'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "explain" -d 'Explain a header and which servers accept it, or what a log line means'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "watch" -d 'Listen in place of a server, and show what a proxy really sends'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "probe" -d 'Test how a server reacts to each kind of header'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "snippet" -d 'Print configuration lines for proxies and for this host, to copy'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "connections" -d 'List the connections that are open in a running front door'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "status" -d 'Show the state of a running front door: listeners, backends and their proofs, unfinished headers'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "top" -d 'Look at a running front door in a terminal: who is connected, who is refused and why, live'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "deny" -d 'Keep a client out for a while: at once, without a reload'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "undeny" -d 'Let a denied client in again'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "upgrade" -d 'Let a new program take the place of the running one, without losing a connection'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "reload" -d 'Make a running front door read its configuration again, as SIGHUP does, and say how that went'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and not __fish_seen_subcommand_from run demo doctor check init import send explain watch probe snippet connections status top deny undeny upgrade reload help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from import" -f -a "stalwart" -d 'From a Stalwart mail server: its listeners, trusted networks, blocked and allowed addresses'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "haproxy" -d 'HAProxy\'s lines for this configuration: a frontend and a backend for each listener'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "nginx" -d 'NGINX in front: the stream section for this configuration (version 1 only); with `--backend`, NGINX behind'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "traefik" -d 'Traefik\'s dynamic file for this configuration, its entry points in a comment'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "envoy" -d 'Envoy\'s static resources for this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "caddy" -d 'Caddy\'s site for each http listener; stock Caddy cannot carry mail'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "postfix" -d 'Postfix\' services for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "dovecot" -d 'Dovecot\'s listeners and list of proxies for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "exim" -d 'Exim\'s ports and list of proxies for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "stalwart" -d 'Stalwart\'s listeners for the backends of this configuration'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "firewall" -d 'Rules of nftables by which nobody but truepeer reaches the backends'
complete -c truepeer -n "__fish_truepeer_using_subcommand help; and __fish_seen_subcommand_from snippet" -f -a "transparent" -d 'What this host needs for `handoff = "transparent"`: the commands, and the same for systemd-networkd'
