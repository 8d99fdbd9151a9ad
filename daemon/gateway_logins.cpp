// Passwords and certificates of one store: read, and read again when their files have changed.
#include "daemon/gateway_logins.hpp"

namespace headgate {

Result<plugin::Login> Logins::login(const plugin::OpenRequest& request, std::string* why) {
  auto given = credentials.login(request.credential, request.fresh);
  if (!given) {
    *why = given.error();
    // As a refused login: tried once more, then slowly. It is no fault of the server's.
    return fault(Code::unauthenticated, "the password of credential `" +
                                            credentials.name(request.credential) +
                                            "` cannot be read; the gateway's log says why");
  }
  plugin::Login out;
  out.account = std::move(given->account);
  out.label = std::move(given->name);
  out.password = std::move(given->password);
  const std::lock_guard lock(mutex_);
  out.tls = certificates_->packed();
  out.tls_files = certificates_;
  return out;
}

bool Logins::set_tls(const config::Tls& to, std::string* why) {
  const std::lock_guard lock(mutex_);
  tls_ = to;
  stamp_ = seen_ = config::tls_stamp(to);
  auto read = config::Certificates::read(to);
  certificates_ = read ? *read : config::Certificates::unread(to);
  told_ = read ? std::string() : read.error();
  *why = told_;
  return read.has_value();
}

// Takes new ones where they are good. REQUIRES: mutex_ is held.
void Logins::read_certificates(News& out) {
  stamp_ = seen_ = config::tls_stamp(tls_);
  auto read = config::Certificates::read(tls_);
  if (!read) {
    if (told_ != read.error()) out.unusable = read.error();
    told_ = read.error();
  } else if (config::tls_stamp(tls_) != stamp_) {
    out.unsettled = true;  // they were written while they were read
    stamp_.clear();
  } else {
    told_.clear();
    out.certificates = !(*read)->same_as(*certificates_);
    certificates_ = *read;
  }
}

Logins::News Logins::renew() {
  News out;
  out.passwords = credentials.renew();
  const std::lock_guard lock(mutex_);
  read_certificates(out);
  return out;
}

Logins::News Logins::look() {
  News out;
  out.passwords = credentials.look();
  const std::lock_guard lock(mutex_);
  const std::string now = config::tls_stamp(tls_);
  const bool stays = now == seen_;
  seen_ = now;
  if (now != stamp_ && stays) read_certificates(out);
  out.unsettled = out.unsettled || out.passwords.unsettled || (now != stamp_ && !stays);
  return out;
}

}  // namespace headgate
