# Asks the sidecar for one call by Net::HTTP.
require 'json'
require 'net/http'

uri = URI(ARGV[0])
begin
  http = Net::HTTP.new(uri.host, uri.port)
  http.use_ssl = true
  http.open_timeout = http.read_timeout = 8
  answer = http.start { |open| open.get('/') }
  outcome = answer['x-spapi-sidecar-request-id'] ? 'sidecar' : 'direct'
  detail = answer['x-spapi-sidecar-error'].to_s
rescue StandardError => error
  detail = "#{error.class}: #{error.message}"
  outcome = detail.include?('407') ? 'login' : detail.include?('certificate verify failed') ? 'untrusted' : 'unreachable'
end
puts JSON.generate(name: 'ruby', version: RUBY_VERSION, outcome: outcome, detail: detail[0, 300])
