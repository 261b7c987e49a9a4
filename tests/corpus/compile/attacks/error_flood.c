#define E a b c d e f g h i j;
#define F E E E E E E E E E E
#define G F F F F F F F F F F
#define H G G G G G G G G G G
int main(void) { H H H H H H H H H H }
