// Passwords and certificates of one store: read, and read again when their files have changed.
#include "daemon/gateway_logins.hpp"

#include "daemon/config/settings.hpp"

namespace headgate {

std::uint32_t Logins::put(const config::Account& account, bool* changed) {
  access::CredentialInput input;
  input.name = account.name;
  input.account = account.account;
  input.source = config::render(account.password);
  input.read = [source = account.password] { return config::read_secret(source); };
  if (!config::source_stamp(account.password).empty()) {
    input.stamp = [source = account.password] { return config::source_stamp(source); };
  }
  return credentials.put(std::move(input), changed);
}

Result<plugin::Login> Logins::login_or_why(const plugin::OpenRequest& request) {
  std::string why;
  auto out = login(request, &why);
  if (!out) out.error().message = std::move(why);
  return out;
}

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
  reading_.taken(config::tls_stamp(to));
  auto read = config::Certificates::read(to);
  certificates_ = read ? *read : config::Certificates::unread(to);
  told_ = read ? std::string() : read.error();
  *why = told_;
  return read.has_value();
}

// Takes new ones where they are good. REQUIRES: mutex_ is held.
void Logins::read_certificates(News& out) {
  reading_.taken(config::tls_stamp(tls_));
  auto read = config::Certificates::read(tls_);
  if (!read) {
    if (told_ != read.error()) out.unusable = read.error();
    told_ = read.error();
  } else if (config::tls_stamp(tls_) != reading_.stamp) {
    out.unsettled = true;  // they were written while they were read
    reading_.stamp.clear();
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
  out.unsettled = out.passwords.unsettled;
  if (reading_.settled(config::tls_stamp(tls_), &out.unsettled)) read_certificates(out);
  return out;
}

}  // namespace headgate
