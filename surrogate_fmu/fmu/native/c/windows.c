/* What a library on Windows needs when it is linked without a C runtime: msvcrt.dll and kernel32.dll, which every Windows
 * has, do the rest. So the compiler has no runtime to build first, and the library none to bring along. */
#ifdef SF_WITHOUT_CRT
#include <stdarg.h>
#include <stddef.h>

int _fltused = 0;
int _vsnprintf(char *text, size_t size, const char *format, va_list arguments);
int vsnprintf(char *text, size_t size, const char *format, va_list arguments);
int snprintf(char *text, size_t size, const char *format, ...);
int __stdcall DllMainCRTStartup(void *instance, unsigned long reason, void *reserved);

int __stdcall DllMainCRTStartup(void *instance, unsigned long reason, void *reserved)
{
    (void)instance, (void)reason, (void)reserved;
    return 1;
}

/* Compiled code calls this before it makes a frame of rax bytes that is larger than a page: Windows grows a stack page by
 * page, so each must be touched in turn. All registers stay as they are. */
__asm__(".globl ___chkstk_ms\n"
        "___chkstk_ms:\n"
        "    pushq %rcx\n"
        "    pushq %rax\n"
        "    leaq 24(%rsp), %rcx\n"
        "1:  cmpq $0x1000, %rax\n"
        "    jb 2f\n"
        "    subq $0x1000, %rcx\n"
        "    testl %eax, (%rcx)\n"
        "    subq $0x1000, %rax\n"
        "    jmp 1b\n"
        "2:  subq %rax, %rcx\n"
        "    testl %eax, (%rcx)\n"
        "    popq %rax\n"
        "    popq %rcx\n"
        "    ret\n");

/* The old function does not terminate what it cuts off, and says -1 then; the length that C11 wants is not known. */
int vsnprintf(char *text, size_t size, const char *format, va_list arguments)
{
    const int length = _vsnprintf(text, size, format, arguments);
    if (length >= 0 && (size_t)length < size)
        return length;
    text[size - 1] = '\0';
    return (int)size - 1;
}

int snprintf(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, size, format, arguments);
    va_end(arguments);
    return length;
}
#else
typedef int sf_nothing_to_add; /* an empty file is no C */
#endif
