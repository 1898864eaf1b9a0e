//! The programs that findings name.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! products {
    ($($variant:ident $name:literal $title:literal)*) => {
        /// A program, library or service that sends or receives headers, or stands between.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "each is the product whose title it has")]
        pub enum Product { $($variant),* }

        impl Product {
            /// Every product, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name, as in JSON and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The name as its makers write it.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

products! {
    Haproxy "haproxy" "HAProxy"
    Nginx "nginx" "nginx"
    Traefik "traefik" "Traefik"
    Envoy "envoy" "Envoy"
    Caddy "caddy" "Caddy"
    Hitch "hitch" "Hitch"
    Stunnel "stunnel" "stunnel"
    Sslh "sslh" "sslh"
    Varnish "varnish" "Varnish"
    Dnsdist "dnsdist" "dnsdist"
    Frp "frp" "frp"
    Postfix "postfix" "Postfix"
    Postscreen "postscreen" "Postfix postscreen"
    Dovecot "dovecot" "Dovecot"
    Exim "exim" "Exim"
    Opensmtpd "opensmtpd" "OpenSMTPD"
    Stalwart "stalwart" "Stalwart"
    DockerMailserver "docker-mailserver" "docker-mailserver"
    Mailcow "mailcow" "mailcow"
    Mailu "mailu" "Mailu"
    Apache "apache" "Apache httpd"
    Tomcat "tomcat" "Apache Tomcat"
    Jetty "jetty" "Jetty"
    Netty "netty" "Netty"
    NodeServer "node" "Node.js"
    GoProxyproto "go-proxyproto" "go-proxyproto"
    GoServer "go" "a Go server"
    PythonServer "python" "a Python server"
    Openssl "openssl" "OpenSSL"
    Gnutls "gnutls" "GnuTLS"
    Rustls "rustls" "rustls"
    Openssh "openssh" "OpenSSH"
    Mosquitto "mosquitto" "Mosquitto"
    Emqx "emqx" "EMQX"
    Mariadb "mariadb" "MariaDB"
    Mysql "mysql" "MySQL"
    Postgresql "postgresql" "PostgreSQL"
    Redis "redis" "Redis"
    Minecraft "minecraft" "a Minecraft server or proxy"
    Docker "docker" "Docker"
    Kubernetes "kubernetes" "Kubernetes"
    IngressNginx "ingress-nginx" "ingress-nginx"
    CertManager "cert-manager" "cert-manager"
    Istio "istio" "Istio"
    AwsNlb "aws-nlb" "AWS Network Load Balancer"
    AzureBalancer "azure" "Azure Load Balancer or Private Link"
    GcpBalancer "gcp" "Google Cloud Load Balancing"
    DigitaloceanBalancer "digitalocean" "DigitalOcean load balancer"
    HetznerBalancer "hetzner" "Hetzner load balancer"
    Truepeer "truepeer" "truepeer"
}

impl Product {
    /// The product of that stable name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|product| product.name() == name)
    }
}

impl Serialize for Product {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_one_product() {
        for product in Product::ALL {
            assert_eq!(Product::parse(product.name()), Some(*product));
        }
        assert_eq!(Product::parse("HAProxy"), None);
    }
}
