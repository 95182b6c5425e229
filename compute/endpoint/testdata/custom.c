/*
 * A library of PostgreSQL 15 that claims a resource manager of its own. What of the
 * server's headers it needs is declared here, so that a compiler is enough to build it.
 */
static const struct {
	int		length, version, function_args, index_keys, name_length, float8_by_value;
	char	extra[32];
} magic = {sizeof magic, 1500, 100, 32, 64, 1, "PostgreSQL"};

const void *Pg_magic_func(void) { return &magic; }

static void	nothing(void) {}
static const char *named(unsigned char info) { return "NOTHING"; }

static struct {
	const char *name;
	void		(*redo) (void), (*desc) (void);
	const char *(*identify) (unsigned char);
	void		(*startup) (void), (*cleanup) (void), (*mask) (void), (*decode) (void);
} manager = {"varve_custom", nothing, nothing, named, nothing, nothing, nothing, nothing};

extern void RegisterCustomRmgr(unsigned char id, const void *manager);

void _PG_init(void) { RegisterCustomRmgr(128, &manager); }
