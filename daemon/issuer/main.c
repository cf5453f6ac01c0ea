/* SPDX-License-Identifier: GPL-3.0-or-later */
/* main.c - culvert-issuer: flags, start, signals, the state's file, exit codes. */
#include "base/log.h"
#include "base/text.h"
#include "issuer/issuer.h"
#include "tls/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	EXIT_USAGE = 2,
	STATE_EVERY_MS = 5000,
	STATE_OLD_S = 30, /* then the issuer does not run, or hangs */
	MINUTE_S = 60,
	HOUR_S = 3600,
	LIFETIME_LEAST_S = 20,
	LIFETIME_MOST_S = 90 * 24 * HOUR_S,
	AUTHORITY_MOST_S = 20 * 366 * 24 * HOUR_S,
};

struct options {
	const char *kubeconfig, *name_space, *account, *owner, *signer, *peer_name, *secret, *bundle, *state_directory;
	int64_t certificate_lifetime_s, authority_lifetime_s, trust_delay_s; /* trust_delay_s -1: the certificates' lifetime */
	bool is_rotate, is_state;
};

struct program {
	struct options o;
	struct loop *loop;
	struct kube_client *client;
	struct issuer *issuer;
	struct loop_source signals;
	struct loop_timer state_timer;
	char state_error[256]; /* said once */
	int exit_status;
};

/* --- flags --- */

static void usage(FILE *out)
{
	fputs("usage: culvert-issuer [OPTION...]             signs the certificates that Culvert's daemons ask for in Kubernetes\n"
	      "       culvert-issuer --rotate [OPTION...]    asks for a new authority, and ends\n"
	      "       culvert-issuer --state [OPTION...]     prints what the issuer that runs in this container does; exit status 0: it is well\n"
	      "       culvert-issuer --version | --help\n"
	      "\n"
	      "  --kubeconfig FILE                how to reach the API server; default: as a pod does, by its service account\n"
	      "  --namespace NAME                 of the Secret, the ConfigMap and the daemons' pods; default: the service account's\n"
	      "  --account NAME                   the daemons' service account: only it may ask; default culvert\n"
	      "  --owner-account NAME             a service account that Secret and ConfigMap belong to: they go when it is deleted\n"
	      "  --signer NAME                    signer name of the requests; default culvert.dev/node\n"
	      "  --peer-name TEMPLATE             what a node is called, as identity.peer_name of the daemons;\n"
	      "                                   default URI:spiffe://cluster.local/ns/culvert/node/{node}\n"
	      "  --certificate-lifetime DURATION  of a node's certificate, 20s to 2160h; default 24h\n"
	      "  --authority-lifetime DURATION    of an authority; the next one is made after two thirds of it; default 8760h\n"
	      "  --trust-delay DURATION           how long a new authority is trusted before it signs; default: as long as a certificate lives\n"
	      "  --authority-secret NAME          the Secret that holds the authority; default culvert-issuer\n"
	      "  --bundle-configmap NAME          the ConfigMap with what nodes trust, ca.crt; default culvert-ca\n"
	      "  --state-directory FOLDER         where it writes what --state prints; default /run/culvert-issuer, \"\": nowhere\n"
	      "  --log-level LEVEL                debug, info, warn or error; default info\n"
	      "TERM ends it. Exit status 2: bad usage.\n",
	      out);
}

__attribute__((format(printf, 1, 2))) static int complain(const char *format, ...)
{
	va_list args;

	fputs("culvert-issuer: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("\nTry culvert-issuer --help.\n", stderr);
	return EXIT_USAGE;
}

/* 90s, 30m or 24h. 0, or EXIT_USAGE after a message. */
static int duration_parse(const char *flag, const char *text, int64_t least_s, int64_t most_s, int64_t *ret_s)
{
	char quoted[TEXT_QUOTE_BYTES], digits[16];
	size_t len = strlen(text);
	uint64_t value, factor;

	factor = len && text[len - 1] == 'h' ? HOUR_S : len && text[len - 1] == 'm' ? MINUTE_S : len && text[len - 1] == 's' ? 1 : 0;
	if (!factor || len >= sizeof(digits))
		return complain("%s %s is no duration, such as 90s, 30m or 24h", flag, text_quote(text, quoted));
	snprintf(digits, sizeof(digits), "%.*s", (int)(len - 1), text);
	if (text_parse_u64(digits, &value))
		return complain("%s %s is no duration, such as 90s, 30m or 24h", flag, text_quote(text, quoted));
	if (value > (uint64_t)most_s || (int64_t)(value * factor) < least_s || (int64_t)(value * factor) > most_s)
		return complain("%s %s: must be %llds to %lldh", flag, text, (long long)least_s, (long long)most_s / HOUR_S);
	*ret_s = (int64_t)(value * factor);
	return 0;
}

static int check_names(const struct options *o)
{
	const struct {
		const char *flag, *value;
		bool may_be_empty;
	} names[] = {
		{ "--namespace", o->name_space, true },     { "--account", o->account, false },
		{ "--owner-account", o->owner, true },      { "--authority-secret", o->secret, false },
		{ "--bundle-configmap", o->bundle, false },
	};
	char quoted[TEXT_QUOTE_BYTES];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if ((names[i].value[0] || !names[i].may_be_empty) && !text_is_subdomain(names[i].value))
			return complain("%s %s is no name: lower-case letters, digits, '-' and '.'", names[i].flag,
			                text_quote(names[i].value, quoted));
	}
	if (!text_is_signer(o->signer))
		return complain("--signer %s is no signer's name, such as culvert.dev/node", text_quote(o->signer, quoted));
	if (strncmp(o->signer, "kubernetes.io/", 14) == 0)
		return complain("--signer %s belongs to Kubernetes itself; one such as culvert.dev/node is right", o->signer);
	return 0;
}

/* 0, EXIT_USAGE after a message, or -1: done, nothing more is to do. */
static int options_parse(int argc, char **argv, struct options *o)
{
	enum {
		OPT_KUBECONFIG = 256,
		OPT_NAMESPACE,
		OPT_ACCOUNT,
		OPT_OWNER,
		OPT_SIGNER,
		OPT_PEER_NAME,
		OPT_CERTIFICATE,
		OPT_AUTHORITY,
		OPT_TRUST,
		OPT_SECRET,
		OPT_BUNDLE,
		OPT_STATE_DIRECTORY,
		OPT_LOG,
		OPT_ROTATE,
		OPT_STATE,
		OPT_VERSION,
		OPT_HELP
	};
	static const struct option options[] = {
		{ "kubeconfig", required_argument, NULL, OPT_KUBECONFIG },
		{ "namespace", required_argument, NULL, OPT_NAMESPACE },
		{ "account", required_argument, NULL, OPT_ACCOUNT },
		{ "owner-account", required_argument, NULL, OPT_OWNER },
		{ "signer", required_argument, NULL, OPT_SIGNER },
		{ "peer-name", required_argument, NULL, OPT_PEER_NAME },
		{ "certificate-lifetime", required_argument, NULL, OPT_CERTIFICATE },
		{ "authority-lifetime", required_argument, NULL, OPT_AUTHORITY },
		{ "trust-delay", required_argument, NULL, OPT_TRUST },
		{ "authority-secret", required_argument, NULL, OPT_SECRET },
		{ "bundle-configmap", required_argument, NULL, OPT_BUNDLE },
		{ "state-directory", required_argument, NULL, OPT_STATE_DIRECTORY },
		{ "log-level", required_argument, NULL, OPT_LOG },
		{ "rotate", no_argument, NULL, OPT_ROTATE },
		{ "state", no_argument, NULL, OPT_STATE },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};
	char quoted[TEXT_QUOTE_BYTES];
	enum log_level level;
	int64_t delay_s;
	int opt, r = 0;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1 && !r) {
		switch (opt) {
		case OPT_KUBECONFIG:
			o->kubeconfig = optarg;
			break;
		case OPT_NAMESPACE:
			o->name_space = optarg;
			break;
		case OPT_ACCOUNT:
			o->account = optarg;
			break;
		case OPT_OWNER:
			o->owner = optarg;
			break;
		case OPT_SIGNER:
			o->signer = optarg;
			break;
		case OPT_PEER_NAME:
			o->peer_name = optarg;
			break;
		case OPT_CERTIFICATE:
			r = duration_parse("--certificate-lifetime", optarg, LIFETIME_LEAST_S, LIFETIME_MOST_S, &o->certificate_lifetime_s);
			break;
		case OPT_AUTHORITY:
			r = duration_parse("--authority-lifetime", optarg, LIFETIME_LEAST_S, AUTHORITY_MOST_S, &o->authority_lifetime_s);
			break;
		case OPT_TRUST:
			r = duration_parse("--trust-delay", optarg, 0, LIFETIME_MOST_S, &o->trust_delay_s);
			break;
		case OPT_SECRET:
			o->secret = optarg;
			break;
		case OPT_BUNDLE:
			o->bundle = optarg;
			break;
		case OPT_STATE_DIRECTORY:
			o->state_directory = optarg;
			break;
		case OPT_LOG:
			if (!log_level_parse(optarg, &level))
				return complain("--log-level is debug, info, warn or error, not %s", text_quote(optarg, quoted));
			log_set_level(level);
			break;
		case OPT_ROTATE:
			o->is_rotate = true;
			break;
		case OPT_STATE:
			o->is_state = true;
			break;
		case OPT_VERSION:
			printf("culvert-issuer %s\n", CULVERT_VERSION);
			return -1;
		case OPT_HELP:
			usage(stdout);
			return -1;
		default:
			fputs("Try culvert-issuer --help.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (r)
		return r;
	if (optind < argc)
		return complain("unexpected argument %s", text_quote(argv[optind], quoted));
	if (o->is_rotate && o->is_state)
		return complain("--rotate and --state exclude each other");
	delay_s = o->trust_delay_s < 0 ? o->certificate_lifetime_s : o->trust_delay_s;
	/* A third of its life is left when the next one is made: enough to be trusted, and for the last certificates. */
	if (o->authority_lifetime_s < 4 * (o->certificate_lifetime_s + delay_s))
		return complain(
			"--authority-lifetime must be at least %lldh: four times the certificates' lifetime and the trust delay together",
			(long long)(4 * (o->certificate_lifetime_s + delay_s) + HOUR_S - 1) / HOUR_S);
	return check_names(o);
}

/* --- the state's file --- */

static int state_path(const struct options *o, const char *suffix, char ret[PATH_MAX])
{
	return snprintf(ret, PATH_MAX, "%s/state%s", o->state_directory, suffix) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Prints it, and judges by its first line and its age. */
static int state_print(const struct options *o)
{
	char path[PATH_MAX], text[ISSUER_STATE_BYTES];
	struct stat st;
	size_t n;
	FILE *f;

	if (state_path(o, "", path))
		return complain("--state-directory is too long");
	f = fopen(path, "re");
	if (!f || fstat(fileno(f), &st)) {
		fprintf(stderr, "culvert-issuer: %s: %s\n", path, strerror(errno));
		if (f)
			fclose(f);
		return EXIT_FAILURE;
	}
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	fputs(text, stdout);
	if (time(NULL) - st.st_mtime > STATE_OLD_S) {
		fprintf(stderr, "culvert-issuer: %s: was written more than %d s ago: the issuer does not run\n", path, STATE_OLD_S);
		return EXIT_FAILURE;
	}
	return strncmp(text, "well:     yes\n", 14) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int state_write(const struct program *p, const char *text)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	size_t len = strlen(text);
	int fd, r;

	if (state_path(&p->o, "", path) || state_path(&p->o, ".new", fresh))
		return -ENAMETOOLONG;
	if (mkdir(p->o.state_directory, 0755) && errno != EEXIST)
		return -errno;
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = write(fd, text, len) == (ssize_t)len ? 0 : -EIO;
	close(fd);
	if (!r && rename(fresh, path))
		r = -errno;
	return r;
}

static void on_state_timer(struct loop_timer *t)
{
	struct program *p = container_of(t, struct program, state_timer);
	char text[ISSUER_STATE_BYTES];
	int r;

	(void)loop_timer_set(p->loop, t, instant_add_ms(loop_now(p->loop), STATE_EVERY_MS));
	issuer_state(p->issuer, text);
	r = state_write(p, text);
	if (r && strcmp(p->state_error, strerror(-r)) != 0)
		log_warn("the state can not be written: --state will say that it does not run", L_TEXT("folder", p->o.state_directory),
		         L_ERRNO(r));
	snprintf(p->state_error, sizeof(p->state_error), "%s", r ? strerror(-r) : "");
}

/* --- running --- */

static void on_signal(struct loop_source *src, uint32_t events)
{
	struct program *p = container_of(src, struct program, signals);
	struct signalfd_siginfo info;

	(void)events;
	while (read(src->fd, &info, sizeof(info)) == sizeof(info))
		loop_stop(p->loop);
}

static int start_signals(struct program *p)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	p->signals = (struct loop_source){ .fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .on_event = on_signal };
	if (p->signals.fd < 0)
		return -errno;
	return loop_add(p->loop, &p->signals, EPOLLIN);
}

static void on_asked(struct issuer_ask *a, const char *error)
{
	struct program *p = a->private;

	if (error[0])
		fprintf(stderr, "culvert-issuer: %s\n", error);
	else
		printf("asked for a new authority: the running issuer makes one within a minute; culvert-issuer --state shows how far it is\n");
	p->exit_status = error[0] ? EXIT_FAILURE : EXIT_SUCCESS;
	loop_stop(p->loop);
}

static int run_issuer(struct program *p, const struct issuer_settings *s)
{
	int r = issuer_create(p->loop, p->client, s, &p->issuer);

	if (r)
		return r;
	log_info("starting", L_TEXT("version", CULVERT_VERSION), L_TEXT("namespace", s->name_space), L_TEXT("signer", s->signer));
	p->state_timer.on_expire = on_state_timer;
	if (p->o.state_directory[0])
		on_state_timer(&p->state_timer);
	r = loop_run(p->loop);
	log_info("ended");
	loop_timer_clear(p->loop, &p->state_timer);
	issuer_destroy(p->issuer);
	return r;
}

static int run(struct program *p)
{
	struct issuer_settings s = {
		.account = p->o.account,
		.owner = p->o.owner,
		.signer = p->o.signer,
		.secret = p->o.secret,
		.bundle = p->o.bundle,
		.rotation = {
			.certificate_lifetime_s = p->o.certificate_lifetime_s,
			.authority_lifetime_s = p->o.authority_lifetime_s,
			.trust_delay_s = p->o.trust_delay_s,
		},
	};
	struct kube_client_settings client = { .kubeconfig = p->o.kubeconfig, .user_agent = "culvert-issuer/" CULVERT_VERSION };
	struct issuer_ask ask = { .done = on_asked, .private = p };
	char error[KUBE_ERROR_BYTES], name_error[NAME_ERROR_BYTES];
	int r;

	if (name_template_parse(p->o.peer_name, &s.name, name_error))
		return complain("--peer-name %s %s", p->o.peer_name, name_error);
	if (s.name.is_shared)
		return complain("--peer-name shared: the issuer gives each node a name of its own; a template with {node} is right");
	r = start_signals(p);
	if (!r) {
		r = kube_client_create(p->loop, &client, &p->client, error);
		if (r) {
			fprintf(stderr, "culvert-issuer: %s\n", error);
			return EXIT_FAILURE;
		}
	}
	s.name_space = p->o.name_space[0] ? p->o.name_space : kube_client_namespace(p->client);
	if (!r && !s.name_space[0])
		return complain("--namespace NAME is needed: neither a service account nor the kubeconfig says one");
	ask.client = p->client;
	ask.name_space = s.name_space;
	ask.secret = s.secret;
	if (!r && p->o.is_rotate) {
		r = issuer_ask_rotation(&ask);
		if (!r)
			r = loop_run(p->loop);
	} else if (!r) {
		r = run_issuer(p, &s);
	}
	if (r)
		fprintf(stderr, "culvert-issuer: %s\n", strerror(-r));
	return r ? EXIT_FAILURE : p->exit_status;
}

int main(int argc, char **argv)
{
	struct program p = {
		.o = {
			.name_space = "",
			.account = "culvert",
			.owner = "",
			.signer = "culvert.dev/node",
			.peer_name = "URI:spiffe://cluster.local/ns/culvert/node/{node}",
			.secret = "culvert-issuer",
			.bundle = "culvert-ca",
			.state_directory = "/run/culvert-issuer",
			.certificate_lifetime_s = 24 * HOUR_S,
			.authority_lifetime_s = 365 * 24 * HOUR_S,
			.trust_delay_s = -1,
		},
		.signals.fd = -1,
	};
	struct clock clock;
	int r = options_parse(argc, argv, &p.o);

	if (r)
		return r < 0 ? EXIT_SUCCESS : r;
	if (p.o.is_state)
		return state_print(&p.o);
	if (tls_init()) {
		fputs("culvert-issuer: the TLS library does not start\n", stderr);
		return EXIT_FAILURE;
	}
	clock_init(&clock);
	r = loop_create(&clock, &p.loop);
	if (r) {
		fprintf(stderr, "culvert-issuer: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	r = run(&p);
	kube_client_destroy(p.client);
	loop_remove(p.loop, &p.signals);
	if (p.signals.fd >= 0)
		close(p.signals.fd);
	loop_destroy(p.loop);
	return r;
}
