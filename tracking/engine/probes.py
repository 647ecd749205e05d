"""Paths and agents that are telling by themselves: names, looked up in a dictionary.

A trail is one or more whole segments of a normal path (decoded, lower case, dots resolved), in a
row, anywhere in it: "/.git" is in "/shop/.git/config", not in "/app.git".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracking.engine.families import (
    ABSENT_SOFTWARE,
    BACKDOOR,
    KNOWN_EXPLOIT,
    LEAKED_FILE,
    Family,
)

# Weak places of products that even those who run the product have no reason to open.
_EXPLOITS = (
    "/eval-stdin.php", "/getphpinfo.php", "/htmlawedtest.php", "/mboximport",
    "/setup-restore.action", "/setup-restore-local.action", "/setupadministrator.action",
    "/execute-solution", "/gponform", "/boaform", "/wls-wsat", "/_async/asyncresponseservice",
    "/ejbinvokerservlet", "/createremoteappwebsession.php", "/ztp_gate.php", "/fwbcgi",
    "/gwtest/formssso", "/webui_wsma_https", "/addcrypted2", "/eonapi/getapikey",
    "/backup-heart.php", "/mla-stream-image.php", "/tmshcmd.jsp", "/fileread.jsp",
    "/directorylist.jsp", "/mgmt/tm/util/bash", "/_profiler/phpinfo", "/_profiler/open",
    "/phpmyadmin/scripts/setup.php", "/pma/scripts/setup.php", "/cgi-bin/php", "/cgi-bin/php4",
    "/cgi-bin/php5", "/cgi-bin/php-cgi", "/php-cgi/php-cgi.exe", "/cgi-bin/test-cgi",
    "/cgi-bin/nobody", "/id-pools/executecommand", "/text-inline.vm", "/.js.map", "/diag_form",
    "/cmd,", "/flash/addcrypted2", "/ajax/render/widget_tabbedcontainer_tab_panel",
    "/cgi-bin/luci/locale", "/finishsetup.action", "/setupstart.action", "/tmunblock.cgi",
    "/hndunblock.cgi", "/wanipcn.xml", "/editblackandwhitelist", "/nice ports,",
)  # fmt: skip

# Weak places that the product itself uses; who asks where there is none is trying them.
_GUESSED_EXPLOITS = (
    "/telerik.web.ui.dialoghandler.aspx", "/moveitisapi.dll", "/rpc2", "/console.portal",
    "/api/v2/cmdb/system/admin", "/api/v2.0/cmdb/system/admin", "/fgt_lang",
    "/connector.minimal.php", "/timthumb.php", "/api/jsonws/invoke", "/descriptorbyname",
    "/wizard.fcgi", "/weblogin.cgi", "/nas_sharing.cgi", "/dvr/cmd", "/device.rsp", "/mifs/aad",
    "/mifs/asfv3", "/server-info.action", "/wsstatusevents", "/metadatauploader", "/setup.cgi",
    "/goform", "/hnap1", "/password.htm", "/up.cgi", "/currentsetting.htm", "/getcfg.php",
    "/vcav-bootstrap", "/sdwan/nitro", "/api/sonicos", "/ieshostedsurvey.jsp", "/card_scan.php",
    "/badge_template_print.php", "/wheel_async", "/uploadova", "/programexport", "/+cscot+",
    "/struts2-showcase", "/jmxinvokerservlet", "/evox/about", "/networkdiag.cgi",
    "/upgrademysqlstatus", "/ctrlt",
)  # fmt: skip

# Files that are served by mistake only.
_LEAKS = (
    "/.env", "/.git", "/.svn", "/.hg", "/.bzr", "/.cvs", "/.cvsignore", "/.aws", "/.ssh", "/.gnupg",
    "/.kube", "/.dockercfg", "/.azure", "/.gcloud", "/.bash_history", "/.bash_logout",
    "/.bash_profile", "/.bashrc", "/.zsh_history", "/.zshrc", "/.rhosts", "/.sh_history",
    "/.mysql_history", "/.psql_history", "/.python_history", "/.viminfo", "/.netrc", "/.npmrc",
    "/.pypirc", "/.pgpass", "/.my.cnf", "/.htpasswd", "/.htaccess", "/.htdigest", "/.mailrc",
    "/.subversion", "/.passwd", "/.s3cfg", "/.boto", "/.git-credentials", "/.gitconfig",
    "/.ftpconfig", "/.remote-sync.json", "/sftp-config.json", "/.vscode/sftp.json",
    "/.idea/workspace.xml", "/.idea/webservers.xml", "/id_rsa", "/id_dsa", "/id_ecdsa",
    "/id_ed25519", "/wp-config.php.bak", "/wp-config.php.old", "/wp-config.php.save",
    "/wp-config.php.txt", "/wp-config.php~", "/wp-config.bak", "/wp-config.txt", "/web.config.bak",
    "/wp-content/debug.log", "/config.php.bak", "/configuration.php.bak", "/settings.php.bak",
    "/web-inf", "/meta-inf", "/storage/logs/laravel.log", "/actuator/heapdump", "/actuator/env",
    "/actuator/configprops", "/ntuser.dat", "/proftpdpasswd", "/wp-config.php",
)  # fmt: skip

# Some people publish such a file; who asks where there is none is guessing.
_GUESSED_LEAKS = (
    "/.travis.yml", "/.circleci", "/terraform.tfstate", "/credentials.json", "/database.yml",
    "/secrets.yml", "/master.key", "/local_settings.py", "/settings.py.bak", "/phpinfo.php",
    "/phpinfo", "/docker-compose.yml", "/serverless.yml", "/sftp.json", "/.ds_store", "/.listing",
    "/authorized_keys", "/server.key", "/info.php", "/web.config", "/config/parameters.yml",
    "/.config", "/.cache", "/.profile", "/.history", "/.forward", "/.docker", "/.terraform",
    "/.claude", "/.cursor", "/.n8n",
)  # fmt: skip

# Where forges and file shares show files of any name, and folders that are hidden and public.
_BROWSED = frozenset({"src", "raw", "blob", "blame", "tree", "dav", "webdav", "-"})
_PUBLIC = (".well-known", ".auth", ".netlify", ".rum", ".attachments", ".proxy")

# Administration of software; who runs it gets an answer, and is not told.
_ADMINISTRATION = (
    "/wp-login.php", "/wp-admin", "/wp-signup.php", "/xmlrpc.php", "/wlwmanifest.xml",
    "/administrator", "/admin.php", "/admin.asp", "/admin.aspx", "/admin.cgi", "/admin.jsp",
    "/administrator.php", "/admin/config.php", "/admin/login.php", "/admin/index.php",
    "/adminer.php", "/adminer", "/phpmyadmin", "/phpmyadmin2", "/phpmyadmin4", "/pma", "/myadmin",
    "/mysqladmin", "/mysql-admin", "/dbadmin", "/sqladmin", "/phppgadmin", "/sqlmanager", "/websql",
    "/mysqlmanager", "/manager/html", "/host-manager", "/jmx-console", "/web-console",
    "/admin-console", "/solr/admin", "/jenkins/script", "/jenkins/login", "/hudson",
    "/server-status", "/server-info", "/actuator", "/bitrix/admin", "/typo3", "/umbraco", "/magmi",
    "/downloader/index.php", "/fckeditor", "/cfide", "/sap/bc", "/sap/opu", "/irj/portal", "/nwa",
    "/sap/public", "/webdynpro", "/remote/login", "/remote/logincheck", "/dana-na", "/+cscoe+",
    "/vpn/index.html", "/global-protect", "/mapi/nspi", "/cpanel", "/whm", "/webmin", "/plesk",
    "/cgi-bin", "/_ignition", "/vendor/phpunit", "/tmui", "/mgmt/shared", "/geoserver", "/struts",
    "/elfinder", "/joomla", "/user/soapcaller.bs", "/druid", "/nacos", "/solr", "/boafrm",
    "/stalker_portal", "/mifs", "/sdk/weblanguage", "/hp/device", "/wp-includes/wlwmanifest.xml",
    "/wp-json/wp/v2/users", "/cacti", "/_fragment", "/zabbix", "/remote_agent.php",
    "/ghost/api/admin", "/webtools/control", "/adminpanel", "/admin-panel", "/admincp",
    "/admin_area", "/controlpanel", "/webadmin", "/siteadmin", "/phpldapadmin", "/pgadmin",
    "/pgadmin4", "/phpmyadmin3", "/php-my-admin", "/phpmyadmin-old", "/phpma", "/sqlweb",
    "/api/v1/pods",
)  # fmt: skip

_WEB_SHELLS = frozenset({
    "c99", "c99shell", "c100", "r57", "r57shell", "wso", "wso2", "wso25", "wsoshell", "b374k",
    "alfa", "alfanew", "alfashell", "indoxploit", "weevely", "cmdasp", "0byt3m1n1", "priv8",
    "antichat", "safe0ver", "locus7s", "c0derz", "phpspy", "phpremoteview", "wsanon", "xleet",
    "anonymousfox", "leafmailer", "fierzashell", "ru24_post_sh", "backdoor", "webadmin",
    "marijuana", "cmd", "hacked", "bypass", "upshell", "uploadshell", "gfs_sh", "nstview", "zehir",
    "aspxspy",
})  # fmt: skip
_NAMED_SHELL = re.compile(
    r"(?:^|[^a-z])(?:web|mini|my|php|cmd|perl|asp|jsp|cgi|simple)?shell[^a-z]?"
)
_WORDPRESS_SCAN = re.compile(
    r"/wp-(?:content/(?:plugins|themes)/.{1,200}\.(?:txt|md)"
    r"|(?:content|includes|admin)/.{0,200}\.php|\w[\w-]{0,40}\.php)$"
)
_SCRIPTS = frozenset({
    "php", "php3", "php4", "php5", "php7", "php8", "phtml", "phar", "asp", "aspx", "ashx", "jsp",
    "jspx", "pl", "cgi",
})  # fmt: skip
_COPIES = frozenset({
    "sql", "zip", "tar", "gz", "tgz", "bz2", "xz", "rar", "7z", "bak", "dump", "mdb", "sqlite",
    "sqlite3", "db", "old", "save", "swp", "swo",
})  # fmt: skip
_BACKUP_FOLDERS = frozenset({
    "", "backup", "backups", "bak", "back", "bkp", "old", "db", "dbs", "database", "sql", "mysql",
    "dump", "dumps", "data", "www", "tmp", "temp", "admin",
})  # fmt: skip
_DUMP = re.compile(
    r"(?:^|[_-])(?:back_?ups?|ba?c?k|bkp|dump|dmp|dbs?|database|mysql|pgsql|sqldump|mysqldump|www"
    r"|wwwroot|htdocs|public_html|httpdocs|website|users?|accounts?|localhost|wordpress|wp|site"
    r"|full|config|prod|production|staging|secrets?|passwords?)(?:[_-]|\d|$)"
)
_COPY_OF_SOURCE = re.compile(
    r"\.(?:php\d?|aspx?|jsp|py|rb|inc|conf|ini|ya?ml|env)[._~](?:bak|old|orig|save|swp|swo|txt)?$"
)

# Words in the names that tools for finding weak places give themselves.
AGENTS = re.compile(
    r"nikto|sqlmap|havij|acunetix|netsparker|invicti|nessus|openvas|arachni|w3af|wpscan|joomscan"
    r"|dirbuster|gobuster|feroxbuster|\bffuf\b|fuzz faster|\bwfuzz\b|\bdirb\b|dirsearch|nuclei\b"
    r"|nmap scripting|masscan|zgrab|zmeu|jorgee|morfeus|muieblackcat|skipfish|whatweb|xsstrike"
    r"|commix|fimap|absinthe|bsqlbf|sqlninja|sql power injector|pangolin|grendel-scan|paros/"
    r"|webinspect|appscan|brutus/|cgichk|n-stealth|whisker|core-project/1|webshag|vega/1|jaeles"
    r"|\bhydra\b|metasploit|meterpreter|burpsuite|burp collaborator|zaproxy|owasp zap|\.nasl"
    r"|mysqloit|damn small|dotdotpwn|s\.t\.a\.l\.k\.e\.r\.|toata dragostea|webcruiser|webvulnscan"
    r"|detectify|tsunamisecurity|cmsmap|droopescan|w00tw00t|wordpress hash grabber"
    # Exploits of routers and of FortiOS come with these.
    r"|^hello, world|^report runner"
)


def probes(path: str) -> Iterator[tuple[Family, bool]]:
    """Yield the families of which a normal path is a probe, each with whether only if not found.

    Only then is asking a guess: the owner of a site may ask for what is there.
    """
    segments = path.split("/")
    for segment in segments:
        for trail, family, when_absent in _TRAILS.get(segment, ()):
            if f"{trail}/" not in f"{path}/":
                continue
            if family is not LEAKED_FILE or _BROWSED.isdisjoint(segments):
                yield family, when_absent
    first = segments[1]
    if first.startswith(".") and first not in _PUBLIC:
        yield LEAKED_FILE, True
    if "/wp-" in path and _WORDPRESS_SCAN.search(path):
        yield ABSENT_SOFTWARE, True
    yield from _named(segments[-1], path.rpartition("/")[0][1:])


def _named(name: str, folder: str) -> Iterator[tuple[Family, bool]]:
    """Yield what the name of a file in a folder tells."""
    stem, _, extension = name.rpartition(".")
    if name.startswith(("w00tw00t", "nmaplowercheck")):
        yield KNOWN_EXPLOIT, False
    elif extension in _SCRIPTS:
        if stem in _WEB_SHELLS:
            yield BACKDOOR, stem in {"cmd", "bypass", "webadmin"}
        elif _NAMED_SHELL.search(stem):
            yield BACKDOOR, True
    elif _is_copy(name, folder, extension):
        yield LEAKED_FILE, True


def _is_copy(name: str, folder: str, extension: str) -> bool:
    """Tell whether a file is what is left of an edit or a backup."""
    if extension in _COPIES and folder in _BACKUP_FOLDERS and _DUMP.search(name.partition(".")[0]):
        return True
    return name.endswith(".php~") or _COPY_OF_SOURCE.search(name) is not None


def _index() -> dict[str, list[tuple[str, Family, bool]]]:
    """Return the trails by their first segment."""
    index: dict[str, list[tuple[str, Family, bool]]] = {}
    for trails, family, when_absent in (
        (_EXPLOITS, KNOWN_EXPLOIT, False),
        (_GUESSED_EXPLOITS, KNOWN_EXPLOIT, True),
        (_LEAKS, LEAKED_FILE, False),
        (_GUESSED_LEAKS, LEAKED_FILE, True),
        (_ADMINISTRATION, ABSENT_SOFTWARE, True),
    ):
        for trail in trails:
            index.setdefault(trail.split("/")[1], []).append((trail, family, when_absent))
    return index


_TRAILS = _index()
