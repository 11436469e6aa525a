<?php
// Asks the sidecar for one call by PHP's curl, as Guzzle does.
$outcome = 'unreachable';
$detail = 'the curl extension is missing';
if (function_exists('curl_init')) {
    $fields = [];
    $curl = curl_init($argv[1]);
    curl_setopt_array($curl, [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 8,
        CURLOPT_HEADERFUNCTION => function ($curl, $line) use (&$fields) {
            $parts = explode(':', $line, 2);
            if (count($parts) === 2) {
                $fields[strtolower(trim($parts[0]))] = trim($parts[1]);
            }
            return strlen($line);
        },
    ]);
    if (curl_exec($curl) === false) {
        $detail = curl_error($curl);
        $outcome = in_array(curl_errno($curl), [60, 77], true) ? 'untrusted' : (str_contains($detail, '407') ? 'login' : 'unreachable');
    } else {
        $outcome = isset($fields['x-spapi-sidecar-request-id']) ? 'sidecar' : 'direct';
        $detail = $fields['x-spapi-sidecar-error'] ?? '';
    }
}
echo json_encode(['name' => 'php', 'version' => PHP_VERSION, 'outcome' => $outcome, 'detail' => substr($detail, 0, 300)]), "\n";
