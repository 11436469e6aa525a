"""curl over BoringSSL, with the ClientHello of Chrome. Arguments: the URL, and the newest version of TLS that it offers.
Prints what curl says of the connection, the library, then the answer. Reads HTTPS_PROXY and CURL_CA_BUNDLE."""

import os
import sys

import curl_cffi
from curl_cffi import CurlOpt, requests

UP_TO_TLS_1_2 = 6 << 16  # CURL_SSLVERSION_MAX_TLSv1_2

url, newest = sys.argv[1:]
options = {CurlOpt.SSLVERSION: UP_TO_TLS_1_2} if newest == "1.2" else {}
session = requests.Session(
    impersonate="chrome", curl_options=options, timeout=30, debug=True,
    proxies={"https": os.environ["HTTPS_PROXY"]}, verify=os.environ["CURL_CA_BUNDLE"],
)
answer = session.get(url)
answer.raise_for_status()
print(curl_cffi.__curl_version__)
print(answer.text)
