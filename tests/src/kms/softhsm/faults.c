/* A PKCS#11 module before the real one: passes everything on until it is told to do harm.
 *
 * It finds its files beside itself, so that one process may have several: real.so, the module that does the work;
 * softhsm2.conf, that module's settings; fault, one line of what goes wrong now:
 *   rv CODE      every call that needs the token answers with this code
 *   sleep MS     looking for a key takes so long
 *   lost         all sessions are closed under their users' hands, once
 *   logout       nobody is logged in any more, once
 *   restart      the module is ended and started anew, once: it reads its tokens again, and nobody is logged in
 *   nogcm        the token has no AES-GCM
 * Every login is noted in the file logins, with what it was answered.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

typedef unsigned long word;
typedef word (*call)();

/* PKCS#11 2.40, the order of CK_FUNCTION_LIST. */
enum {
  INITIALIZE = 0, FINALIZE = 1, GET_SLOT_LIST = 4, GET_MECHANISM_LIST = 7, OPEN_SESSION = 12, CLOSE_ALL_SESSIONS = 14, GET_SESSION_INFO = 15,
  LOGIN = 18, LOGOUT = 19, FIND_OBJECTS_INIT = 26, ENCRYPT_INIT = 29, DECRYPT_INIT = 33, WRAP_KEY = 60, UNWRAP_KEY = 61, COUNT = 68
};
#define AES_GCM 0x1087UL
#define OS_LOCKING_OK 2UL

struct functions { unsigned char version[2]; call f[COUNT]; };
struct initialize_args { void *mutexes[4]; word flags; void *reserved; };
struct session_info { word slot, state, flags, error; };

static struct functions *real, ours;
static char folder[4000];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void beside(char *path, const char *name) { snprintf(path, 4096, "%s/%s", folder, name); }

static int fault(const char *kind, word *value) {
  char path[4096], word_read[16] = "";
  word number = 0;
  beside(path, "fault");
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  int read = fscanf(file, "%15s %lu", word_read, &number);
  fclose(file);
  if (read < 1 || strcmp(word_read, kind)) return 0;
  if (value) *value = number;
  return 1;
}

#define BROKEN() do { word code; if (fault("rv", &code)) return code; } while (0)

static word get_slot_list(word a, word b, word c) { BROKEN(); return real->f[GET_SLOT_LIST](a, b, c); }
static word open_session(word a, word b, word c, word d, word e) { BROKEN(); return real->f[OPEN_SESSION](a, b, c, d, e); }
static word encrypt_init(word a, word b, word c) { BROKEN(); return real->f[ENCRYPT_INIT](a, b, c); }
static word decrypt_init(word a, word b, word c) { BROKEN(); return real->f[DECRYPT_INIT](a, b, c); }
static word wrap_key(word a, word b, word c, word d, word e, word f) { BROKEN(); return real->f[WRAP_KEY](a, b, c, d, e, f); }
static word unwrap_key(word a, word b, word c, word d, word e, word f, word g, word h) {
  BROKEN();
  return real->f[UNWRAP_KEY](a, b, c, d, e, f, g, h);
}

/* The real module finds its settings by the environment, which all modules of a process share: one at a time. */
static word initialize(void *args) {
  char path[4096];
  int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  flock(file, LOCK_EX);
  beside(path, "softhsm2.conf");
  setenv("SOFTHSM2_CONF", path, 1);
  word result = real->f[INITIALIZE](args);
  close(file);
  return result;
}

static word find_objects_init(word session, word template, word count) {
  word ms;
  BROKEN();
  if (fault("sleep", &ms)) usleep(ms * 1000);
  pthread_mutex_lock(&lock);
  if (fault("lost", NULL)) {
    struct session_info info;
    char path[4096];
    beside(path, "fault");
    unlink(path);
    if (!real->f[GET_SESSION_INFO](session, &info)) real->f[CLOSE_ALL_SESSIONS](info.slot);
  } else if (fault("logout", NULL)) {
    char path[4096];
    beside(path, "fault");
    unlink(path);
    real->f[LOGOUT](session);
  } else if (fault("restart", NULL)) {
    struct initialize_args args = { {0}, OS_LOCKING_OK, NULL };
    char path[4096];
    beside(path, "fault");
    unlink(path);
    if (!real->f[FINALIZE](NULL)) initialize(&args);
  }
  pthread_mutex_unlock(&lock);
  return real->f[FIND_OBJECTS_INIT](session, template, count);
}

static word get_mechanism_list(word slot, word *list, word *count) {
  word result = real->f[GET_MECHANISM_LIST](slot, list, count);
  if (result || !list || !fault("nogcm", NULL)) return result;
  word kept = 0;
  for (word i = 0; i < *count; i++)
    if (list[i] != AES_GCM) list[kept++] = list[i];
  *count = kept;
  return result;
}

static word login(word session, word user, word pin, word length) {
  word result;
  char path[4096];
  BROKEN();
  result = real->f[LOGIN](session, user, pin, length);
  beside(path, "logins");
  FILE *file = fopen(path, "a");
  if (file) { fprintf(file, "%lu\n", result); fclose(file); }
  return result;
}

static void load(void) {
  Dl_info info;
  char path[4096];
  if (!dladdr((void *)load, &info) || strlen(info.dli_fname) >= sizeof folder) return;
  strcpy(folder, info.dli_fname);
  *strrchr(folder, '/') = 0;
  beside(path, "real.so");
  void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  word (*list)(struct functions **) = module ? (word (*)(struct functions **))dlsym(module, "C_GetFunctionList") : NULL;
  if (!list || list(&real)) { real = NULL; return; }
  ours = *real;
  ours.f[INITIALIZE] = (call)initialize;
  ours.f[GET_SLOT_LIST] = (call)get_slot_list;
  ours.f[GET_MECHANISM_LIST] = (call)get_mechanism_list;
  ours.f[OPEN_SESSION] = (call)open_session;
  ours.f[LOGIN] = (call)login;
  ours.f[FIND_OBJECTS_INIT] = (call)find_objects_init;
  ours.f[ENCRYPT_INIT] = (call)encrypt_init;
  ours.f[DECRYPT_INIT] = (call)decrypt_init;
  ours.f[WRAP_KEY] = (call)wrap_key;
  ours.f[UNWRAP_KEY] = (call)unwrap_key;
}

word C_GetFunctionList(struct functions **list) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load);
  if (!real) return 5; /* CKR_GENERAL_ERROR */
  *list = &ours;
  return 0;
}
